"""Runs the accuracy tests of the verifiers on all data sets in sequence, and prints a summary.

    TEST_DATA=DIRECTORY python loadtest/verifiers_accuracy.py [--smoke] [NAME ...]

Each data set has a script `accuracy_NAME.py`, which lists its disagreements in
`results/accuracy_NAME.json`. To add a data set, add a script.
"""

import sys
from pathlib import Path

from bench import main

NAMES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("accuracy_*.py")))

if __name__ == "__main__":
    sys.exit(main(NAMES, __doc__))
