"""`python -m fakesweep` is the command `fakesweep`."""

import sys

from fakesweep.cli import main

if __name__ == "__main__":
    sys.exit(main())
