"""Opens the sinks of an entry point (API, function, command line): log lines and CloudWatch metrics."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from judge_service.telemetry.emf import Emf
from judge_service.telemetry.events import Sink, Told, tell
from judge_service.telemetry.lines import Lines
from judge_service.telemetry.logs import Logs


class Options(Protocol):
    """The options of sinks; `settings.logs` is such an object."""

    @property
    def enabled(self) -> bool: ...
    @property
    def sample_rate(self) -> float: ...
    @property
    def slow_s(self) -> float: ...
    @property
    def candidate_text(self) -> bool: ...
    @property
    def explanations(self) -> bool: ...
    @property
    def service_name(self) -> str: ...
    @property
    def emf(self) -> str: ...
    @property
    def emf_namespace(self) -> str: ...


class Sinks:
    """The open sinks; pass `sink` to `open_service`."""

    def __init__(self, sink: Told, lines: Lines | None, emf: Emf | None) -> None:
        self.sink = sink
        self._lines = lines
        self._emf = emf

    def __repr__(self) -> str:
        return f"<Sinks {self._lines!r} {self._emf!r}>"

    async def aclose(self) -> None:
        """Writes everything without blocking the event loop; waits 2 s at most.

        The sinks can be used again afterwards. Each Lambda invocation ends with this, because a frozen
        process writes nothing.
        """
        if self._emf is not None:
            self._emf.flush()
        if self._lines is not None:
            await asyncio.to_thread(self._lines.flush)


def open_sinks(
    options: Options,
    *,
    score_range: str = "0..1",
    environ: Mapping[str, str],
    others: tuple[Sink, ...] = (),
    write: Callable[[bytes], None] | None = None,
) -> Sinks:
    """Opens the sinks that `options` (usually `settings.logs`) ask for.

    score_range: of the wire, `settings.wire.score_range`.
    environ: usually `os.environ`; its `AWS_LAMBDA_FUNCTION_NAME` becomes the metrics' dimension.
    others: further sinks.
    write: writes a block of lines, by default to standard output.
    """
    if not options.enabled:
        return Sinks(tell(*others), None, None)
    lowest = -1.0 if score_range == "-1..1" else 0.0
    lines = Lines(write)
    logs = Logs(
        lines,
        service=options.service_name,
        sample_rate=options.sample_rate,
        slow_s=options.slow_s,
        candidate_text=options.candidate_text,
        explanations=options.explanations,
        lowest=lowest,
    )
    emf = _emf(options, lines, lowest, environ)
    return Sinks(tell(logs, *([emf] if emf else []), *others), lines, emf)


def _emf(options: Options, lines: Lines, lowest: float, environ: Mapping[str, str]) -> Emf | None:
    function = environ.get("AWS_LAMBDA_FUNCTION_NAME")
    if options.emf == "off" or (options.emf == "auto" and not function):
        return None
    dimensions = {"FunctionName": function} if function else {"Service": options.service_name}
    return Emf(lines, namespace=options.emf_namespace, dimensions=dimensions, lowest=lowest)
