"""JSON text in and out, and every failure named."""

import json
from typing import Any

import pytest

from judge_service.errors import WireError
from judge_service.wire import dump_json, read_json

BOUND = 10_000_000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1, 2.5, null]", [1, 2.5, None]),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\ud800"', "\ud800"),
        ('["\\ud800", 1.5, 12345678901234567890123]', ["\ud800", 1.5, 12345678901234567890123]),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ('\ufeff{"a": "ü"}', {"a": "ü"}),
        ('"\ud800"', "\ud800"),
        ("1e-999", 0.0),
    ],
)
def test_legal_json_is_read_exactly(text: str, value: Any) -> None:
    for data in (text, text.encode("utf-8", "surrogatepass")):
        read = read_json(data, max_bytes=BOUND)
        assert read == value
        assert type(read) is type(value)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not JSON"),
        (b"[1", "not JSON"),
        (b"[1] 2", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'"a\nb"', "not JSON"),
        (b"NaN", "NaN, Infinity"),
        (b"[-Infinity]", "NaN, Infinity"),
        (b"1e400", "beyond a float"),
        (b'["\\ud800", 1e400]', "beyond a float"),
        (b"1" * 5000, "beyond a float"),
        (b'"\xff"', "UTF-8 at byte 1"),
        (b"[" * 200_000, "too deep"),
        (b"[" * 200_000 + b"]" * 200_000, "too deep"),
        (b'{"a":' * 200_000, "too deep"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_anything_else_is_one_wire_error(data: bytes, problem: str) -> None:
    with pytest.raises(WireError, match=problem) as caught:
        read_json(data, max_bytes=BOUND)
    assert caught.value.field == "$"


def test_a_text_that_is_too_long_is_not_parsed() -> None:
    assert read_json('"éé"', max_bytes=6) == "éé"
    for data in ('"éé"', '"éé"'.encode()):
        with pytest.raises(WireError, match=r"^\$: is longer than 5 bytes"):
            read_json(data, max_bytes=5)


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": -float("inf")}])
def test_what_is_not_finite_is_never_written(value: Any) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump_json(value)


def test_a_lone_surrogate_is_written_as_the_escape_it_was() -> None:
    assert dump_json({"id": "\ud800"}) == b'{"id":"\\ud800"}'
    assert read_json(dump_json("\ud800é😀"), max_bytes=BOUND) == "\ud800é😀"


def test_what_is_written_is_ascii() -> None:
    written = dump_json(["ü\u2028😀", 1.0, 10**30, True])
    assert written.isascii()
    assert json.loads(written) == ["ü\u2028😀", 1.0, 10**30, True]
