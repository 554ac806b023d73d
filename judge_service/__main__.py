"""`python -m judge_service` is `judge`."""

import sys

from judge_service.cli import main

sys.exit(main())
