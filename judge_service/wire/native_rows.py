"""A fast path for plain rows, which msgspec reads straight into records; `rows` reads all other forms.

Most batches hold strings under the usual names, so there is nothing to search. A property test checks that
rows which fit these records give the same samples as `decode_row`.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from judge_service.values import NO_METADATA, Message, Sample
from judge_service.wire.rows import group_key_of

Id = str | Annotated[int, Meta(ge=-(2**53), le=2**53)] | None


class PlainMessage(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A turn whose content is a string."""

    role: Literal["system", "user", "assistant"]
    content: str


class PlainRow(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A row with one prompt or one conversation, one response and one reference, all of them strings."""

    id: Id = None
    prompt: str | UnsetType = UNSET  # null is not the same as absent: it stays in the metadata
    messages: list[PlainMessage] | UnsetType = UNSET
    response: str | UnsetType | None = UNSET
    reference: str | UnsetType = UNSET
    reference_answer: str | UnsetType = UNSET


class PlainBatch(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/rewards` with plain rows only."""

    samples: list[PlainRow]
    reasons: bool = False


_decode = msgspec.json.Decoder(PlainBatch).decode


def read_plain_batch(data: bytes) -> tuple[tuple[Sample, ...], bool] | None:
    """The samples and whether reasons are wanted; `None` for a body in any other form."""
    try:
        batch = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    samples = []
    for row in batch.samples:
        sample = _sample(row)
        if sample is None:
            return None
        samples.append(sample)
    return tuple(samples), batch.reasons


def _sample(row: PlainRow) -> Sample | None:
    """The row as a sample; `None` for a row whose fields need the rules of `decode_row`."""
    if row.messages is UNSET:
        if row.prompt is UNSET:
            return None
        turns: tuple[Message, ...] = (Message("user", row.prompt),)
        response = None if row.response is UNSET else row.response
    elif row.prompt is UNSET and row.response is UNSET and _alternate(row.messages):
        turns = tuple([Message(turn.role, turn.content) for turn in row.messages[:-1]])
        response = row.messages[-1].content
    else:
        return None
    reference: str | None = None
    metadata: Mapping[str, str] = NO_METADATA
    if row.reference is not UNSET:
        if row.reference_answer is not UNSET:
            return None
        reference = row.reference
        metadata = {"reference": reference}
    elif row.reference_answer is not UNSET:
        reference = row.reference_answer
        metadata = {"reference_answer": reference}
    return Sample(
        id=row.id,
        messages=turns,
        response=response,
        reference=reference or None,
        metadata=metadata,
        group_key=group_key_of(turns),
    )


def _alternate(turns: list[PlainMessage]) -> bool:
    """Whether the conversation ends with a single turn of the assistant, so that no turn is a gold answer."""
    return len(turns) > 1 and turns[-1].role == "assistant" != turns[-2].role
