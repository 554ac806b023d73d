"""`judge serve`: runs the HTTP service. Without settings it serves the embedded judge."""

import argparse
import os
from importlib import import_module

from msgspec.structs import replace

from judge_service.cli.configuration import add_config_argument, read_settings
from judge_service.errors import SettingsError
from judge_service.settings import Settings

HELP = "serve the judge over HTTP"
EXAMPLES = """examples:
  judge serve
  judge serve --config judge.toml --port 9000 --workers 4
  curl -d '{"samples": [{"id": 1, "prompt": "2 + 2?", "response": "4", "answer": "four"}]}' \\
    http://127.0.0.1:8080/v1/rewards

It listens on all addresses, as a container must; --host 127.0.0.1 listens on this machine only.
SIGTERM or Ctrl-C finishes the requests in flight (`service.drain_s`) and exits with 0; a second one
does not wait. In SageMaker, SAGEMAKER_BIND_TO_PORT is the port.
"""

SAGEMAKER_PORT = "SAGEMAKER_BIND_TO_PORT"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)
    parser.add_argument("--host", help="address to listen on (default: service.host)")
    parser.add_argument("--port", type=int, help="port, 0 takes a free one (default: service.port)")
    parser.add_argument("--workers", type=int, help="processes (default: service.workers)")


def run(arguments: argparse.Namespace) -> int:
    """Serves until a signal ends it."""
    settings = chosen(read_settings(arguments), arguments)
    try:
        # by name, because the other commands work without the packages of the service
        api = import_module("judge_service.api.process.start")
    except ImportError as missing:
        raise SettingsError(
            f"`judge serve` needs the package {missing.name}: pip install 'judge-service[service]'"
        ) from None
    code: int = api.start(settings)
    return code


def chosen(settings: Settings, arguments: argparse.Namespace) -> Settings:
    """The settings, with the values of flags and SageMaker. A flag has precedence over SageMaker.

    Raises SettingsError for a value out of range.
    """
    asked = {
        "host": arguments.host,
        "port": arguments.port if arguments.port is not None else _sagemaker_port(),
        "workers": arguments.workers,
    }
    service = replace(
        settings.service, **{name: value for name, value in asked.items() if value is not None}
    )
    if not 0 <= service.port <= 65_535:
        raise SettingsError(f"port {service.port} is not between 0 and 65,535")
    if not 1 <= service.workers <= 64:
        raise SettingsError(f"{service.workers} workers are not between 1 and 64")
    return replace(settings, service=service)


def _sagemaker_port() -> int | None:
    text = os.environ.get(SAGEMAKER_PORT)
    if text is None:
        return None
    if not text.isdecimal():
        raise SettingsError(f"{SAGEMAKER_PORT} is {text!r} and must be a port")
    return int(text)
