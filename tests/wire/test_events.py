"""Every dialect and envelope, from the tables in `tests/data/wire`."""

import json
from pathlib import Path
from typing import Any

import pytest

from judge_service.errors import WireError
from judge_service.wire import decode_event, is_http_event

DATA = Path(__file__).parent.parent / "data" / "wire"


def table(name: str) -> list[Any]:
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


CASES = [case for name in ("bedrock", "sagemaker", "custom_scorer") for case in table(name)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_every_dialect_is_read(case: dict[str, Any]) -> None:
    batch = decode_event(case["event"])

    assert batch.envelope == case["envelope"]
    assert is_http_event(case["event"]) == (case["envelope"] == "http")
    read = [
        {
            "id": sample.id,
            "messages": [[message.role, message.content] for message in sample.messages],
            "response": sample.response,
            "reference": sample.reference,
            "metadata": dict(sample.metadata),
        }
        for sample in batch.samples
    ]
    assert read == case["samples"]


@pytest.mark.parametrize("case", table("refused"), ids=lambda case: json.dumps(case["event"])[:60])
def test_what_is_no_batch_is_refused_by_the_name_of_the_field(case: dict[str, Any]) -> None:
    with pytest.raises(WireError) as caught:
        decode_event(case["event"])

    assert caught.value.field == case["field"]
    assert str(caught.value).startswith(case["field"] + ": ")


def test_the_field_counts_rows_and_messages_from_zero() -> None:
    good = {"role": "user", "content": "a"}
    rows = [{"messages": [good]}] * 3 + [{"messages": [good, {"role": "user", "content": 7}]}]

    with pytest.raises(WireError, match=r"^\$\[3\]\.messages\[1\]\.content: must be text"):
        decode_event(rows)


def test_an_empty_list_is_a_batch_without_rows() -> None:
    assert decode_event([]).samples == ()
    assert decode_event({"body": "[]"}).samples == ()
    assert decode_event({"body": "[]"}).envelope == "http"


def test_a_field_of_a_row_that_is_called_like_an_envelope_opens_nothing() -> None:
    row = {"messages": [{"role": "user", "content": "a"}], "body": "x", "input": 3, "batch": None}
    batch = decode_event(row)

    assert batch.envelope == "list"
    assert batch.samples[0].metadata == {"body": "x", "input": 3, "batch": None}


def test_a_body_may_hold_any_other_form() -> None:
    row = {"id": 1, "prompt": "a", "response": "b"}
    for inner in (row, [row], {"batch": [row]}, {"input": [row]}, {"trajectories": row}):
        for body in (inner, json.dumps(inner)):
            batch = decode_event({"body": body})
            assert batch.envelope == "http"
            assert [sample.response for sample in batch.samples] == ["b"]


def test_a_body_too_deep_for_the_parser_is_refused() -> None:
    with pytest.raises(WireError, match=r"^\$\.body: is nested too deep"):
        decode_event({"body": "[" * 200_000})


def test_a_broken_http_event_is_still_known_as_one() -> None:
    assert is_http_event({"body": "[{"})
    assert not is_http_event({"batch": 7})
    assert not is_http_event("body")
