"""Settings against reward hacking: guards, and canaries that monitor the judge."""

from typing import Annotated

from msgspec import Meta, Struct


class GuardSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Guards against reward hacking (docs/guards.md). The first four score 0 without a judge call."""

    degenerate: Annotated[
        bool,
        Meta(
            description="answers of punctuation or of an opener only (`Thought process:`) score 0"
        ),
    ] = True
    copies: Annotated[bool, Meta(description="answers that only repeat the prompt score 0")] = True
    repetition: Annotated[
        bool, Meta(description="answers that mostly repeat one phrase score 0")
    ] = True
    guesses: Annotated[
        bool, Meta(description="many boxed answers, or a bare list of the options, score 0")
    ] = True
    forgeries: Annotated[
        bool, Meta(description="forged fences, verdicts and orders are reported; no score changes")
    ] = True
    invisible: Annotated[
        bool,
        Meta(description="remove invisible characters and chat control tokens before judging"),
    ] = True
    watch: Annotated[
        bool,
        Meta(
            description=(
                "report when judged and verified criteria diverge, or rewards and lengths rise together"
            )
        ),
    ] = True


class CanarySettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Canaries: samples with a known score that are judged with the others, to detect a changed judge."""

    file: Annotated[
        str,
        Meta(
            max_length=2048, description="JSON lines of canaries (docs/guards.md); empty for none"
        ),
    ] = ""
    every_batches: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="a batch of at least this many samples gets canaries"),
    ] = 50
    per_batch: Annotated[
        int, Meta(ge=1, le=100, description="canaries in such a batch; each costs a judge call")
    ] = 4
    max_error: Annotated[
        float,
        Meta(gt=0, le=1, description="mean distance from the known scores that raises the alarm"),
    ] = 0.2
