"""``python -m headstart`` is the command line."""

from __future__ import annotations

import sys

from headstart.cli import main

sys.exit(main())
