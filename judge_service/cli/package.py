"""`judge package`: builds the zip, the layer or the IAM policies for AWS Lambda."""

import argparse
import sys
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path

import msgspec

from judge_service.cli import package_policy
from judge_service.cli.configuration import add_config_argument, config_path
from judge_service.packaging.inputs import inputs_of
from judge_service.packaging.package import Package, build
from judge_service.packaging.target import MACHINES, PYTHONS, Target
from judge_service.packaging.wheels import default_cache
from judge_service.redaction import USERINFO
from judge_service.settings import Settings, keys, load_settings
from judge_service.wire import dump_json

HELP = "build the Lambda package, a layer, or the IAM policies around them"
EXAMPLES = """examples:
  judge package lambda --config judge.toml -o judge.zip
  judge package layer --arch arm64 --python 3.14 -o judge-layer.zip
  judge package policy --config judge.toml --region us-east-1 --account 123456789012
  judge package policy --trainer hyperpod
"""

MB = 1_000_000

WITHOUT_SETTINGS = (
    "judge: the package has no settings (no --config), so the function needs JUDGE_CONFIG, or JUDGE_BACKEND"
    " and JUDGE_MODEL; without them it answers every call with an error"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(required=True, metavar="lambda|layer|policy")
    for kind, text in (
        ("lambda", "the function's zip"),
        ("layer", "the same as a layer: code under python/, settings as /opt/judge.toml"),
    ):
        one = kinds.add_parser(kind, help=text, description=text)
        _add_build_arguments(one, f"judge-{kind}.zip")
        one.set_defaults(make=_build, kind=kind)
    text = "IAM policy of the function's role, or of a trainer's"
    policy = kinds.add_parser("policy", help=text, description=text)
    add_config_argument(policy)
    package_policy.add_arguments(policy)
    policy.set_defaults(make=package_policy.run)


def run(arguments: argparse.Namespace) -> int:
    """Builds the requested artefact."""
    make: Callable[[argparse.Namespace], None] = arguments.make
    make(arguments)
    return 0


def _add_build_arguments(parser: argparse.ArgumentParser, archive: str) -> None:
    add_config_argument(parser)
    parser.add_argument(
        "--arch", choices=MACHINES, default=Target().architecture, help="%(default)s"
    )
    parser.add_argument("--python", choices=PYTHONS, default=_python(), help="%(default)s")
    parser.add_argument(
        "--grader",
        type=Path,
        action="append",
        default=[],
        metavar="PY",
        help="a Python file to include, for the setting `grader`; may be repeated",
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(archive), metavar="ZIP", help="%(default)s"
    )
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def _python() -> str:
    """The version of the running Python if Lambda has it: then its bytecode can be included."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    return running if running in PYTHONS else Target().python


def _build(arguments: argparse.Namespace) -> None:
    config = config_path(arguments)
    if config is None:
        print(WITHOUT_SETTINGS, file=sys.stderr)
    settings = load_settings(config)  # without the environment, which is not the function's
    if passwords := [f"`{key.name}`" for key in keys() if _has_password(settings, key.name)]:
        print(
            f"judge: {arguments.output} holds the password in {', '.join(passwords)} as readable text;"
            " set it as a variable of the function instead",
            file=sys.stderr,
        )
    package = build(
        arguments.output,
        arguments.kind,
        Target(python=arguments.python, architecture=arguments.arch),
        settings,
        inputs_of(config, settings, arguments.grader),
        cache=default_cache(),
    )
    if arguments.json:
        print(dump_json(msgspec.to_builtins(package, enc_hook=str)).decode())
    else:
        print("\n".join(_lines(package)))


def _has_password(settings: Settings, name: str) -> bool:
    value = attrgetter(name)(settings)
    return isinstance(value, str) and USERINFO.search(value) is not None


def _lines(package: Package) -> Iterator[str]:
    target, cold_start = package.target, package.cold_start
    checked = (
        "sha256 as in requirements.lock" if package.hashes_checked else "no lock to check with"
    )
    yield f"{package.path}  {package.kind} for Python {target.python} on {target.architecture}"
    yield (
        f"size       {package.packed_bytes / MB:.2f} MB packed,"
        f" {package.unpacked_bytes / MB:.2f} MB unpacked"
    )
    yield f"sha256     {package.sha256}"
    yield f"packages   {', '.join(package.packages)} ({checked})"
    yield f"bytecode   {package.bytecode}"
    took = f"{cold_start.import_s * 1000:.0f} ms, " if cold_start.import_s is not None else ""
    yield f"import     {took}{cold_start.note}"
    yield "handler    lambda_adapter.handler.lambda_handler"
