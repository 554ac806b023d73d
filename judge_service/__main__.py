"""Runs the command `judge` for `python -m judge_service`."""

import sys

from judge_service.cli import main

sys.exit(main())
