"""``python -m sysv_ipc``: the command line, also installed as ``sysv-ipc``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
