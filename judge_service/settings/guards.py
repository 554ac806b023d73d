"""Settings of what keeps a reward honest: guards, and canaries that watch the judge."""

from typing import Annotated

from msgspec import Meta, Struct


class GuardSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Against reward hacking (docs/guards.md). The first four give the lowest score without a judge call."""

    degenerate: Annotated[
        bool,
        Meta(
            description="answers of punctuation or of an opener only (`Thought process:`) score 0"
        ),
    ] = True
    copies: Annotated[bool, Meta(description="answers that only say the prompt again score 0")] = (
        True
    )
    repetition: Annotated[
        bool, Meta(description="answers that are mostly one phrase again and again score 0")
    ] = True
    guesses: Annotated[
        bool, Meta(description="many boxed answers, or a bare list of the options, score 0")
    ] = True
    forgeries: Annotated[
        bool, Meta(description="forged fences, verdicts and orders are told of; no score changes")
    ] = True
    invisible: Annotated[
        bool,
        Meta(
            description="what cannot be seen, and control tokens of chats, do not reach the judge"
        ),
    ] = True
    watch: Annotated[
        bool,
        Meta(
            description=(
                "tells when judged and verified criteria part, and when rewards and lengths rise together"
            )
        ),
    ] = True


class CanarySettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Samples whose score is known, judged among the others, to see whether the judge changes."""

    file: Annotated[
        str,
        Meta(
            max_length=2048, description="JSON lines of canaries (docs/guards.md); empty for none"
        ),
    ] = ""
    every_batches: Annotated[
        int, Meta(ge=1, le=1_000_000, description="a batch of so many carries canaries")
    ] = 50
    per_batch: Annotated[
        int, Meta(ge=1, le=100, description="canaries in it, each at the price of a sample")
    ] = 4
    max_error: Annotated[
        float,
        Meta(gt=0, le=1, description="mean distance from the known scores that raises the alarm"),
    ] = 0.2
