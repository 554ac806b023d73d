"""Calls a verifier that never waits, without a loop."""

from typing import Any

from judge_service.values import Message, Sample
from judge_service.verifiers import Check, Verifier, open_verifier


def check_with(verifier: Verifier, sample: Sample) -> Check:
    call = verifier(sample)
    try:
        call.__await__().send(None)
    except StopIteration as done:
        result: Check = done.value
        return result
    raise AssertionError("a pure verifier waited")


def check(
    kind: str,
    response: str | None,
    reference: str | None = None,
    *,
    row: dict[str, Any] | None = None,
    prompt: str = "",
    **options: Any,
) -> Check:
    messages = (Message("user", prompt),) if prompt else ()
    sample = Sample(response=response, reference=reference, metadata=row or {}, messages=messages)
    return check_with(open_verifier(kind, options), sample)
