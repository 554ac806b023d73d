"""Starts the service from its settings: sockets, workers and their shared quota. Used by `judge serve`."""

import ipaddress
import os
import resource
import socket
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from msgspec.structs import replace

from judge_service.api.app import create_app
from judge_service.api.observation import DIRECTORY
from judge_service.api.process.server import Server, listen
from judge_service.api.process.supervisor import FAILED_TO_START, Supervisor
from judge_service.errors import JudgeServiceError, SettingsError
from judge_service.settings import Settings, workers_share

WITHOUT_KEYS = (
    "judge: there are no API keys, so whoever reaches this port uses the judge at your cost; set"
    " `service.api_keys_file` (`judge keys` makes one), or listen on this machine only: --host 127.0.0.1\n"
)


def start(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT. Returns the exit code.

    Raises SettingsError if it cannot listen, or if the settings are wrong.
    """
    raise_descriptor_limit()
    service = settings.service
    with ExitStack() as closing:
        ports = [service.port, *([] if service.admin_port is None else [service.admin_port])]
        sockets = [closing.enter_context(_listen(service.host, port)) for port in ports]
        _say(sockets)
        if not service.api_keys_file and not _is_loopback(sockets[0]):
            sys.stderr.write(WITHOUT_KEYS)
        if service.workers == 1:
            return run_worker(settings, sockets)
        directory = closing.enter_context(
            tempfile.TemporaryDirectory(prefix="judge-service-", ignore_cleanup_errors=True)
        )
        os.environ.setdefault(DIRECTORY, directory)
        if workers_share(settings):
            sys.stderr.write(f"judge: {service.workers} workers share the quota through a file\n")
        mine = settings_of_worker(settings, directory)
        return Supervisor(lambda: _be_worker(mine, sockets), service.workers).run()


def settings_of_worker(settings: Settings, directory: str) -> Settings:
    """The settings of one of several workers.

    directory: of this service alone; without a store the workers share the service's quota in it.
    """
    limits, workers = settings.limits, settings.service.workers
    if not workers_share(settings):
        return replace(settings, limits=replace(limits, processes=limits.processes * workers))
    parts = {name: amount / limits.processes for name, amount in limits.quota().items()}
    path = str(Path(directory, "quota"))
    shared = replace(limits, **parts, processes=workers, store="file", store_url=path)
    return replace(settings, limits=shared)


def run_worker(settings: Settings, sockets: list[socket.socket]) -> int:
    """Runs one worker. Raises SettingsError if the judge cannot be opened."""
    app = create_app(settings)
    if len(sockets) > 1:
        app.state.admin_port = sockets[1].getsockname()[1]
    server = Server(app, settings.service)
    try:
        server.run(sockets=sockets)
    except SystemExit:  # uvicorn raises it if the application did not start
        failure: Exception | None = app.state.failure
        raise failure or SettingsError("the service did not start") from None
    return 0


def raise_descriptor_limit() -> None:
    """Raises the limit of descriptors to the system's: each caller and each judge call needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _be_worker(settings: Settings, sockets: list[socket.socket]) -> int:
    try:
        return run_worker(settings, sockets)
    except JudgeServiceError as error:
        sys.stderr.write(f"judge: {error}\n")
        return FAILED_TO_START


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as problem:
        raise SettingsError(
            f"cannot listen on {host} port {port} ({problem.strerror}); choose another with --host or"
            " --port (`service.host`, `service.port`, `service.admin_port`)"
        ) from None


def _say(sockets: list[socket.socket]) -> None:
    """Prints the addresses on standard error, because the lines of the samples are on standard output."""
    where = [f"http://{_shown(*one.getsockname()[:2])}" for one in sockets]
    pages = f", operators' pages on {where[1]}" if len(where) > 1 else ""
    sys.stderr.write(f"judge: listening on {where[0]}{pages}\n")


def _is_loopback(one: socket.socket) -> bool:
    return ipaddress.ip_address(one.getsockname()[0].partition("%")[0]).is_loopback


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
