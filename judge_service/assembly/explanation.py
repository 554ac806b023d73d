"""Describes a judge service: its stacks layer by layer, and the rate that its quota allows."""

from collections.abc import Sequence

from judge_service.assembly.graders import Asking, Graders
from judge_service.assembly.stacks import Assembly
from judge_service.assembly.targets import CHAT_BACKENDS, Target
from judge_service.backends.prompt_cache import min_tokens
from judge_service.redaction import hide_userinfo
from judge_service.settings import LimitSettings, Settings
from judge_service.throughput import Throughput, expect
from judge_service.values import Prompt, Sample

CHARS_PER_TOKEN = 4
"""Characters of a token in English prose, for estimates; the limiter learns from the judge's counts."""

GROUP = 8
"""Rollouts of one prompt, for what is expected of a prompt cache; the default of Bedrock's fine-tuning."""


def explain(graders: Graders, assembly: Assembly) -> list[tuple[str, list[str]]]:
    """The assembled stacks, outermost layer first, each layer with its settings; no password of a URL."""
    stacks = _stacks(graders, assembly)
    return [(name, [hide_userinfo(layer) for layer in layers]) for name, layers in stacks]


def _stacks(graders: Graders, assembly: Assembly) -> list[tuple[str, list[str]]]:
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
        input_tokens=_tokens(chars, len(prompts)),
        output_tokens=-(-sum(one.max_output_tokens for one in prompts) // len(prompts)),
        calls_each=_draws(settings) * len(prompts),
        read_tokens=_read_tokens(settings, prompts),
    )


def _tokens(chars: int, calls: int) -> int:
    """Of one call, on the mean."""
    return -(-chars // (CHARS_PER_TOKEN * calls))


def _read_tokens(settings: Settings, prompts: Sequence[Prompt]) -> int:
    """What one call of a group of `GROUP` reads for nothing from the judge's prompt cache, on the mean."""
    fewest = min_tokens(settings)
    if fewest is None or settings.backend in CHAT_BACKENDS:
        return 0
    shared = [
        prompt.shared_chars + sum(len(message.content) for message in prompt.messages[:-1])
        for prompt in prompts
    ]
    kept = sum(chars for chars in shared if chars >= fewest * CHARS_PER_TOKEN)
    return _tokens(kept, len(prompts)) * (GROUP - 1) // GROUP


def _draws(settings: Settings) -> int:
    """Opinions on each sample; additional opinions in case of ties are not counted, as they are not known."""
    return settings.vote.draws if settings.vote.when == "always" else 1
