"""Describes a judge service: its stacks layer by layer, and the rate that its quota allows."""

from collections.abc import Sequence

from judge_service.assembly.graders import Asking, Graders
from judge_service.assembly.stacks import Assembly
from judge_service.assembly.targets import Target
from judge_service.settings import LimitSettings, Settings
from judge_service.throughput import Throughput, expect
from judge_service.values import Sample

CHARS_PER_TOKEN = 4
"""Characters of a token in English prose, for estimates; the limiter learns from the judge's counts."""


def explain(graders: Graders, assembly: Assembly) -> list[tuple[str, list[str]]]:
    """The assembled stacks, outermost layer first, each layer with its settings."""
    from judge_service.grading import Blend, CustomGrader  # noqa: PLC0415 - only what is used

    grader = graders.whole
    if isinstance(grader, CustomGrader):
        return [("per sample", [repr(grader)])]
    per_sample = grader.layers() if isinstance(grader, Blend) else [repr(grader)]
    if not graders.askings:
        return [("per sample", per_sample)]
    return [
        ("per sample", per_sample),
        ("per prompt", [repr(layer) for layer in assembly.per_prompt]),
        *((f"per target ({target.name})", _layers(target)) for target in assembly.targets),
    ]


def _layers(target: Target) -> list[str]:
    lease = [] if target.shared is None else [repr(target.shared)]
    return [*map(repr, target.layers), *lease, repr(target.backend)]


def expected(settings: Settings, askings: Sequence[Asking], text_tokens: int) -> Throughput:
    """The steady rate that the configured quota allows, and the setting that limits it.

    text_tokens: tokens of one sample's response and reference together.

    With several models only calls to the first are counted, because each model has a separate quota.
    """
    text = "x" * (text_tokens * CHARS_PER_TOKEN // 2)
    sample = Sample(response=text, reference=text)
    prompts = [
        asking.prompt(sample)
        for asking in askings
        if asking.rubric.model == askings[0].rubric.model
    ]
    if not prompts:
        return expect(LimitSettings(), input_tokens=0, output_tokens=0, calls_each=0)
    chars = sum(len(message.content) for prompt in prompts for message in prompt.messages)
    return expect(
        settings.limits,
        input_tokens=-(-chars // (CHARS_PER_TOKEN * len(prompts))),
        output_tokens=-(-sum(one.max_output_tokens for one in prompts) // len(prompts)),
        calls_each=settings.vote.draws * len(prompts),
    )
