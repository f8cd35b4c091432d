"""`python -m tfhub_transfer` is the command `tfhub-transfer`."""

import sys

from tfhub_transfer.cli import main

sys.exit(main())
