"""Opens the sinks of the service: log lines of samples, and numbers for Prometheus and the dashboard."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from judge_service.settings import Settings
from judge_service.telemetry.events import Sink, ignore
from judge_service.telemetry.sinks import Sinks, open_sinks
from judge_service.telemetry.window import Window
from judge_service.telemetry.workers import Workers

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable of the directory that all workers share; it is that of the Prometheus client."""


class Observation:
    """The sinks of one worker, and the numbers of all workers. `sink` is for `open_service`.

    sees_all: whether `workers` covers the whole service: it has one worker, or they share a directory.
    """

    def __init__(self, settings: Settings, sinks: Sinks, workers: Workers) -> None:
        self.sink = sinks.sink
        self.workers = workers
        self.sees_all = workers.sees_others or settings.service.workers == 1

    def __repr__(self) -> str:
        return f"<Observation {self.sink!r} {self.workers!r}>"


@asynccontextmanager
async def observe(
    settings: Settings, environ: Mapping[str, str] | None, sink: Sink
) -> AsyncIterator[Observation]:
    """Opens the sinks, including `sink`, and flushes them at the end."""
    source = os.environ if environ is None else environ
    directory = source.get(DIRECTORY)
    window = Window()
    sinks = open_sinks(
        settings.logs,
        score_range=settings.wire.score_range,
        environ=source,
        others=(window,) if sink is ignore else (window, sink),
    )
    try:
        yield Observation(settings, sinks, Workers(window, Path(directory) if directory else None))
    finally:
        await sinks.aclose()
