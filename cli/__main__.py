"""The process behind the command `ws-gateway`, and `python -m cli`."""

import sys

from cli.app import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
