"""`python -m cluster`."""

import sys

if __name__ == "__main__":
    try:
        from cluster.cli import main

        code = main()
    except KeyboardInterrupt:  # before the launcher listens for it, or in a short command
        code = 130
    sys.exit(code)
