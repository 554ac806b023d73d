"""Any input gives one item per row, in order, with unchanged ids, or one error that names a field."""

import base64
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from judge_service.errors import WireError
from judge_service.values import Part, Reward
from judge_service.wire import (
    Batch,
    ReplyPolicy,
    decode_event,
    decode_row,
    dump_json,
    encode_reply,
    is_http_event,
    read_json,
)

DATA = Path(__file__).parent.parent / "data" / "wire"
EVENTS = [
    case["event"]
    for name in ("bedrock", "sagemaker", "custom_scorer")
    for case in json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
]
WORDS = [
    *("id", "messages", "role", "content", "prompt", "completion", "response", "query", "system"),
    *("model_response", "chosen", "reference_answer", "metadata", "extra_info", "reward_model"),
    *("ground_truth", "answer", "text", "type", "user", "assistant", "nova_assistant", "body"),
    *("batch", "input", "trajectories", "isBase64Encoded", "tool_calls"),
]
ANY_CHARACTER = st.characters(exclude_categories=())  # lone surrogates and controls too
TEXTS = st.sampled_from(WORDS) | st.text(ANY_CHARACTER, max_size=8)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just(10**400)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=20,
)
SCORES = st.none() | st.floats()  # a grader gone mad included


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A realistic event with one to three of its values replaced by anything."""
    event = draw(st.sampled_from(EVENTS))
    for _ in range(draw(st.integers(1, 3))):
        event = put(event, draw(st.sampled_from(places(event))), draw(VALUES))
    return event


@st.composite
def rewarded(draw: st.DrawFn, batch: Batch) -> list[Reward]:
    rewards = []
    for _ in batch.samples:
        score, part = draw(SCORES), draw(SCORES)
        reason = "throttled" if score is None else None
        rewards.append(Reward(score=score, reason=reason, parts=(Part("x", part, 1.0),)))
    return rewards


def rows_of(event: Any) -> list[Any]:
    """An independent and cruder reading of the envelopes, for events that were accepted."""
    if isinstance(event, list):
        return event
    if {"messages", "prompt", "query", "model_response"} & event.keys():
        return [event]
    inner = next(event[key] for key in ("body", "batch", "input", "trajectories") if key in event)
    if isinstance(inner, str):
        inner = base64.b64decode(inner) if event.get("isBase64Encoded") is True else inner
        inner = json.loads(inner)
    return rows_of(inner)


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: `1` is neither `True` nor `1.0` nor `"1"`."""
    return json.dumps(one) == json.dumps(other)


def assert_valid(items: Any, rows: list[Any]) -> None:
    """The rules of AWS's reward verifiers, and ours: count, order, ids, finite numbers."""
    assert isinstance(items, list)
    assert len(items) == len(rows)
    for item, row in zip(items, rows, strict=True):
        assert "id" in item
        assert same(item["id"], row.get("id"))
        assert not {"errorMessage", "errorType"} & item.keys()
        assert_number(item["aggregate_reward_score"])
        assert [metric["name"] for metric in item["metrics_list"]] == ["x", "unscored"]
        for metric in item["metrics_list"]:
            assert metric.keys() == {"name", "value", "type"}
            assert metric["type"] in ("Metric", "Reward")
            assert_number(metric["value"])


def assert_number(value: Any) -> None:
    assert type(value) is float
    assert math.isfinite(value)
    assert -1.0 <= value <= 1.0


def outcome(function: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    """What the function returns, or its WireError; any other exception is the test's failure."""
    try:
        return function(*arguments, **more)
    except WireError as error:
        return error


def check(event: Any, data: st.DataObject) -> None:
    batch = outcome(decode_event, event)
    if isinstance(batch, WireError):
        assert batch.field.startswith("$")
        assert len(str(batch)) > len(batch.field) + 2
        return
    for sample in batch.samples:
        texts = [sample.response or "", sample.reference or ""]
        texts += [text for message in sample.messages for text in (message.role, message.content)]
        assert all(text.encode() or not text for text in texts)
    policy = ReplyPolicy(
        max_fraction=1.0, score_range=data.draw(st.sampled_from(["0..1", "-1..1"]))
    )
    answers = policy.answer(batch.samples, data.draw(rewarded(batch)))
    reply = encode_reply(answers, batch.envelope)
    assert isinstance(reply, dict) == is_http_event(event)
    items = json.loads(reply["body"]) if isinstance(reply, dict) else reply
    expected = rows_of(event)
    if items:
        assert_valid(items, expected)
        assert_valid(read_json(dump_json(items), max_bytes=10**9), expected)
    else:
        assert expected == []


@settings(deadline=None, max_examples=400)
@given(VALUES, st.data())
def test_any_value_gets_an_answer_per_row_or_one_error(event: Any, data: st.DataObject) -> None:
    check(event, data)


@settings(deadline=None, max_examples=800)
@given(mutated(), st.data())
def test_any_damaged_event_gets_the_same(event: Any, data: st.DataObject) -> None:
    check(event, data)


@settings(deadline=None, max_examples=400)
@given(mutated(), st.data())
def test_any_damaged_event_in_a_body_of_text_gets_the_same(event: Any, data: st.DataObject) -> None:
    check({"body": json.dumps(event)}, data)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=40) | st.text(ANY_CHARACTER, max_size=40), st.data())
def test_any_bytes_are_json_or_one_error(text: bytes | str, data: st.DataObject) -> None:
    event = outcome(read_json, text, max_bytes=100)
    if isinstance(event, WireError):
        assert event.field == "$"
        return
    check(event, data)


@settings(deadline=None, max_examples=300)
@given(VALUES)
def test_a_row_alone_is_a_sample_or_one_error_that_begins_with_its_place(row: Any) -> None:
    sample = outcome(decode_row, row, "line 3")
    if isinstance(sample, WireError):
        assert sample.field.startswith("line 3")
    else:
        assert same(sample.id, row.get("id"))


@settings(deadline=None, max_examples=200)
@given(VALUES)
def test_what_json_writes_read_json_reads_back_or_refuses_for_its_numbers(value: Any) -> None:
    text = json.dumps(value)
    read = outcome(read_json, text, max_bytes=10**6)
    if isinstance(read, WireError):
        assert "float" in str(read)
        assert "NaN" in text or "Infinity" in text
    else:
        assert json.dumps(read) == text
