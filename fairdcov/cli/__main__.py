"""``python -m fairdcov.cli``."""

import sys

from fairdcov.cli import main

sys.exit(main())
