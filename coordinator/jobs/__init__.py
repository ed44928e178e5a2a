"""What runs beside the requests: membership, and the demonstrations."""
