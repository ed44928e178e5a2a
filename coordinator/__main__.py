"""``python -m coordinator`` and the ``coordinator`` command."""

import sys

from coordinator.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
