"""Runs the accuracy of the verifiers on every data set, one after the other, and sums it up.

    TEST_DATA=DIRECTORY python loadtest/verifiers_accuracy.py [--smoke] [NAME ...]

Each data set has a script of its own, `accuracy_NAME.py`, that lists its disagreements in
`results/accuracy_NAME.json`. To add one, add the script.
"""

import sys
from pathlib import Path

from bench import main

NAMES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("accuracy_*.py")))

if __name__ == "__main__":
    sys.exit(main(NAMES, __doc__))
