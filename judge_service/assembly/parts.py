"""Opens the parts of a judge service from its settings: rubric, targets, graders and the judge monitor."""

from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack

from msgspec import Struct
from msgspec.structs import replace

from judge_service.assembly.graders import Graders, open_graders
from judge_service.assembly.instrument import instrument_of
from judge_service.assembly.stacks import Assembly, assemble_each, merged
from judge_service.backends import Backend
from judge_service.errors import SettingsError
from judge_service.grading import (
    GUARDS,
    Canaries,
    Guards,
    JudgeMonitor,
    Monitors,
    Rubric,
    load_canaries,
    load_rubric,
    panels,
)
from judge_service.settings import Settings
from judge_service.telemetry.events import Sink


class Parts(Struct, frozen=True, kw_only=True):
    """The parts of a `service.JudgeService`.

    settings: those given, with the score range of the rubric.
    largest_group: most samples of one judge call, or of one group that must be in work at the same time.
    instrument: everything that can change an answer, see `assembly.instrument`.
    at_work: number of samples in work that keeps every slot busy, with packs and draws taken into account.
    """

    settings: Settings
    rubric: Rubric
    graders: Graders
    assembly: Assembly
    monitor: JudgeMonitor
    largest_group: int
    at_work: int
    instrument: Mapping[str, str]


async def open_parts(
    settings: Settings,
    environ: Mapping[str, str],
    sink: Sink,
    closing: AsyncExitStack,
    *,
    model: Backend | None,
    stand_in: bool = True,
) -> Parts:
    """Opens the parts; `closing` closes what they start.

    environ: contains credentials and region.
    model: a backend that replaces the configured one.
    stand_in: whether the embedded judge may compare characters where its model is not installed. A person at
        a terminal reads its warning; where a training job calls nobody does, and the settings may be lost.

    Raises SettingsError (RubricError) if the configuration cannot work.
    """
    custom = None
    if settings.grader:
        from judge_service.grading.custom.grader import open_custom_grader  # noqa: PLC0415 - only what is used

        custom = await open_custom_grader(settings.grader, timeout_s=settings.grader_timeout_s)
        closing.callback(custom.close)
    rubric = custom.rubric if custom else load_rubric(settings.rubric)
    compares = not custom and (model is not None or settings.backend != "local")
    has_judge = not custom and bool(panels(rubric))
    if not has_judge:
        from judge_service.backends.scripted import NoJudge  # noqa: PLC0415 - only what is used

        model = NoJudge(settings.grader or rubric.name)
    settings = _with_range(settings, rubric)
    assemblies = assemble_each(settings, rubric, environ, sink, closing, model=model)
    if not stand_in:
        _refuse_stand_in(assemblies.values())
    monitor = _monitor(settings, sink, has_judge=has_judge)
    graders = open_graders(
        settings,
        rubric,
        assemblies,
        closing,
        sink=sink,
        guards=monitor.guards,
        custom=custom,
        compares=compares,
    )
    largest = _largest_group(settings, rubric)
    assembly = merged(assemblies)
    return Parts(
        settings=settings,
        rubric=rubric,
        graders=graders,
        assembly=assembly,
        monitor=monitor,
        largest_group=largest,
        at_work=2 * settings.limits.max_in_flight * max(settings.pack.max_samples, largest),
        instrument=instrument_of(settings, rubric, assembly.targets[0].backend.model, environ),
    )


def _refuse_stand_in(assemblies: Iterable[Assembly]) -> None:
    for target in (one for assembly in assemblies for one in assembly.targets):
        if shortcoming := getattr(target.backend, "shortcoming", ""):
            raise SettingsError(
                f"{shortcoming}; a training job gets no such rewards: set `backend` and `model` (if they"
                " are set, see whether JUDGE_CONFIG or judge.toml arrived), or let a rubric name the measure"
                " (`overlap`, docs/verifiers.md)"
            )


def _with_range(settings: Settings, rubric: Rubric) -> Settings:
    """The settings with the rubric's score range, if it has one."""
    if rubric.output is None:
        return settings
    return replace(settings, wire=replace(settings.wire, score_range=rubric.output))


def _monitor(settings: Settings, sink: Sink, *, has_judge: bool) -> JudgeMonitor:
    """The monitor of responses and judge. Guards apply to judges only: a verifier reads the text as sent.

    Raises SettingsError.
    """
    wanted = settings.canaries
    if wanted.file and not has_judge:
        raise SettingsError(
            "`canaries.file` checks a judge, but this configuration calls no judge; leave it empty"
        )
    active = [name for name in GUARDS if has_judge and getattr(settings.guards, name)]
    return JudgeMonitor(
        guards=Guards(frozenset(active), sink),
        canaries=Canaries(
            load_canaries(wanted.file) if wanted.file else (),
            every_batches=wanted.every_batches,
            per_batch=wanted.per_batch,
        ),
        monitors=Monitors(max_error=wanted.max_error),
        is_monitoring=settings.guards.watch,
        sink=sink,
    )


def _largest_group(settings: Settings, rubric: Rubric) -> int:
    looks_for_ties = settings.vote.draws > 1 and settings.vote.when == "tied"
    if rubric.compare != "group" and not looks_for_ties:
        return 1
    from judge_service.grading import MAX_RESPONSES  # noqa: PLC0415 - only what is used

    return MAX_RESPONSES
