"""Runs all benchmarks of the HTTP service in sequence, and prints a summary.

    python loadtest/service.py [--smoke] [NAME ...]      (make bench-service)

The comparison with LiteLLM's proxy needs `.venv-peers` (`make bench-peers`).
"""

import sys

from bench import main

NAMES = (
    "service_single",
    "service_batch",
    "workers_quota",
    "service_bodies",
    "service_proxy",
    "service_overload",
    "service_stop",
    "service_hostile",
    "jobs",
)

if __name__ == "__main__":
    sys.exit(main(NAMES, __doc__))
