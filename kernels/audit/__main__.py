"""python -m nerd_fast.kernels.audit"""

import sys

from nerd_fast.kernels.audit.findings import main

if __name__ == "__main__":
    sys.exit(main())
