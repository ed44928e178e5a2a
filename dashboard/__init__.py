"""The page at `/dashboard`: it speaks the public HTTP API only."""
