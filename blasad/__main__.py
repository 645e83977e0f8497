"""``python -m blasad`` is ``blasad``."""

import sys

from .cli import main

sys.exit(main())
