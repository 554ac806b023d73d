"""`judge keys new`: makes an API key, which is shown once; the service's key file has only its hash."""

import argparse
import sys
from importlib import import_module

from judge_service.errors import SettingsError

HELP = "make an API key for the service"
EXAMPLES = """examples:
  judge keys new team-a >> keys.toml
  judge keys new team-b --share 0.5 --lane bulk >> keys.toml

The key is shown once, on standard error. Standard output is its table for `service.api_keys_file`,
which has only the hash. To replace a key, add the new one, restart, move the callers, remove the old.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["new"], help="the action")
    parser.add_argument("tenant", help="the tenant that uses the key")
    parser.add_argument(
        "--share", type=float, default=1.0, help="share of the queue, 0 to 1 (%(default)s)"
    )
    parser.add_argument(
        "--lane",
        choices=["interactive", "training", "bulk"],
        default="training",
        help="lane in which its work waits for the judge's quota (%(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the key and its table."""
    try:
        access = import_module("judge_service.api.access")  # as in `judge serve`
    except ImportError as missing:
        raise SettingsError(
            f"`judge keys` needs the package {missing.name}: pip install 'judge-service[service]'"
        ) from None
    key, table = access.new_key(arguments.tenant, share=arguments.share, lane=arguments.lane)
    print(f"the key, which is not stored anywhere: {key}", file=sys.stderr)
    print(f"\n{table}", end="")
    return 0
