"""Builds the graders that `service` runs from a rubric and settings."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from judge_service.assembly.stacks import Assembly
from judge_service.errors import RubricError
from judge_service.grading import Grader, Guards, Rubric, is_plain, panels
from judge_service.settings import PriceSettings, Settings
from judge_service.telemetry.events import Sink
from judge_service.values import Prompt, Sample, Usage
from judge_service.verifiers import Verifier, open_verifier

if TYPE_CHECKING:  # imported where they are used: a cold start pays for every module
    from judge_service.grading import Blend, CustomGrader, GroupGrader, Pack, Ranker, TiedVote, Vote

    AnyGrader = Blend | Grader | CustomGrader | Pack | GroupGrader | TiedVote | Vote

PACK_WAIT_S = 0.005
"""How long the first sample of a pack waits for others, seconds; short compared with a judge call."""


class Asking(Struct, frozen=True):
    """One judge call of the rubric for each sample.

    rubric: the criteria of the call. grader: grades one sample with one call.
    asks: the grader in use: `grader` itself, or one that packs or votes around it.
    """

    rubric: Rubric
    grader: Grader
    asks: "AnyGrader"

    def prompt(self, sample: Sample) -> Prompt:
        """The prompt that the judge gets for a sample."""
        writer = self.grader.writer
        return writer.write(writer.question(sample), self.grader.judge.channel)


class Graders(Struct, frozen=True):
    """All graders of a rubric.

    whole: grades a sample by the whole rubric. askings: the rubric's judge calls.
    open_ranker: makes the ranker, on request only, because it reads a file.
    """

    whole: "AnyGrader"
    askings: tuple[Asking, ...]
    open_ranker: Callable[[], "Ranker"]


def open_graders(
    settings: Settings,
    rubric: Rubric,
    assemblies: Mapping[str, Assembly],
    closing: AsyncExitStack,
    *,
    sink: Sink,
    guards: Guards,
    custom: "CustomGrader | None",
    compares: bool,
) -> Graders:
    """Makes the graders, and starts the verifiers, which `closing` ends.

    assemblies: by model. custom: grades instead of judges and verifiers.
    compares: whether the judge can compare several responses in one call.

    Raises RubricError for a verifier that cannot be used.
    """
    askings = tuple(
        _asking(settings, panel, assemblies[panel.model], sink, guards, compares=compares)
        for panel in panels(rubric)
    )
    whole = custom or _whole(settings, rubric, askings, closing)
    first = askings[0].grader if askings else None
    lender = first or _grader(settings, rubric, assemblies[""], sink, guards)
    compares = compares and bool(askings) and is_plain(rubric)
    return Graders(whole, askings, partial(_ranker, settings, lender, whole, compares=compares))


def _whole(
    settings: Settings, rubric: Rubric, askings: Sequence[Asking], closing: AsyncExitStack
) -> "AnyGrader":
    """The grader of the whole rubric; a `Blend` if it needs several judge calls, verifiers or shaping."""
    if is_plain(rubric):
        return askings[0].asks
    from judge_service.grading.blend import Blend  # noqa: PLC0415 - only what is used

    return Blend(
        rubric,
        panels=[asking.asks for asking in askings],
        verifiers=_verifiers(rubric, closing),
        max_sample_chars=settings.max_sample_chars,
    )


def _verifiers(rubric: Rubric, closing: AsyncExitStack) -> dict[str, Verifier]:
    found = {}
    for index, criterion in enumerate(rubric.criteria):
        if criterion.kind != "verify":
            continue
        try:
            verifier = open_verifier(criterion.verify, criterion.options or {})
        except RubricError as problem:
            where = f"rubric {rubric.name}: `criteria[{index}]`"
            raise RubricError(f"{where}: {problem}") from None
        closing.push_async_callback(verifier.aclose)
        found[criterion.name] = verifier
    return found


def _grader(
    settings: Settings, rubric: Rubric, assembly: Assembly, sink: Sink, guards: Guards
) -> Grader:
    return Grader(
        rubric=rubric,
        model=assembly.model,
        channels=assembly.channels,
        answer=settings.answer,
        fence_secret=os.urandom(16),
        temperature=settings.temperature,
        max_reasks=settings.max_reasks,
        max_sample_chars=settings.max_sample_chars,
        price=_price(settings.prices) if not rubric.model else _unknown,
        sink=sink,
        guards=guards,
    )


def _asking(
    settings: Settings,
    rubric: Rubric,
    assembly: Assembly,
    sink: Sink,
    guards: Guards,
    *,
    compares: bool,
) -> Asking:
    """One judge call per sample, or per group if the rubric says so and the judge can compare."""
    grader = _grader(settings, rubric, assembly, sink, guards)
    alone = _alone(settings, grader, assembly)
    if rubric.compare == "pointwise" or not compares:
        return Asking(rubric, grader, alone)
    from judge_service.grading.groups.group import GroupGrader  # noqa: PLC0415 - only what is used

    ranker = _ranker(settings, grader, alone, compares=True)
    return Asking(rubric, grader, GroupGrader(grader, ranker=ranker, alone=alone))


def _alone(
    settings: Settings, grader: Grader, assembly: Assembly
) -> "Grader | Pack | Vote | TiedVote":
    """The grader of single samples: with one call each, in packs, or with votes."""
    asks = _packed(settings, grader, assembly) if settings.pack.max_samples > 1 else grader
    vote = settings.vote
    if vote.draws == 1:
        return asks
    if vote.when == "tied":
        from judge_service.grading.groups.vote_tied import TiedVote  # noqa: PLC0415 - only what is used

        return TiedVote(
            asks,
            asker=grader,
            draws=vote.draws,
            reduce=vote.reduce,
            temperature=settings.temperature,
        )
    from judge_service.grading.groups.vote import Vote  # noqa: PLC0415 - only what is used

    return Vote(
        asks,
        rubric=grader.rubric,
        draws=vote.draws,
        reduce=vote.reduce,
        temperature=settings.temperature,
    )


def _packed(settings: Settings, grader: Grader, assembly: Assembly) -> "Pack":
    from judge_service.grading.groups.pack import Pack  # noqa: PLC0415 - only what is used

    return Pack(
        grader,
        max_samples=settings.pack.max_samples,
        max_tokens=settings.pack.max_tokens,
        wait_s=PACK_WAIT_S,
        count_tokens=assembly.tokens.estimate_texts,
    )


def _ranker(
    settings: Settings,
    grader: Grader,
    alone: "AnyGrader",
    *,
    compares: bool,
) -> "Ranker":
    from judge_service.grading.groups.rank import Ranker  # noqa: PLC0415 - only what is used

    return Ranker(
        grader,
        alone=alone,
        compares=compares,
        max_reasks=settings.max_reasks,
        max_chars=settings.max_sample_chars,
    )


def _price(prices: PriceSettings) -> Any:
    """A function that gives the price of a usage in US dollars, `None` if no prices are set."""
    per_input = prices.input_usd_per_million_tokens
    per_output = prices.output_usd_per_million_tokens
    if per_input is None or per_output is None:
        return _unknown

    per_read, per_write = (
        per_input if price is None else price
        for price in (
            prices.cache_read_usd_per_million_tokens,
            prices.cache_write_usd_per_million_tokens,
        )
    )

    def cost_usd(usage: Usage) -> float | None:
        read = usage.cache_read_tokens * per_read + usage.cache_write_tokens * per_write
        return (read + usage.input_tokens * per_input + usage.output_tokens * per_output) / 1e6

    return cost_usd


def _unknown(_usage: Usage) -> float | None:
    return None
