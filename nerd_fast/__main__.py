"""`python -m nerd_fast` is `nerd-fast`."""

import sys

from nerd_fast.cli import main

if __name__ == "__main__":
    sys.exit(main())
