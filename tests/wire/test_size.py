"""The size of an event that was already parsed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.errors import WireError
from judge_service.wire import refuse_larger

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_what_fits_as_json_text_is_never_refused(value: Any) -> None:
    text = json.dumps([value], separators=(",", ":"), ensure_ascii=False)

    refuse_larger([value], 1 + len(text.encode("utf-8", "surrogatepass")))


@pytest.mark.parametrize(
    "event",
    [
        "x" * 1001,
        [{"id": 1, "messages": [{"role": "user", "content": "x" * 1000}]}],
        {"k" * 1001: 1},
        [0] * 501,
        {"body": {"batch": [[[["x" * 1001]]]]}},
    ],
)
def test_what_is_too_large_is_refused(event: Any) -> None:
    with pytest.raises(WireError, match=r"^\$: is longer than 1,000 bytes; send smaller batches"):
        refuse_larger(event, 1000)


def test_deep_nesting_is_no_trouble() -> None:
    event: Any = []
    for _ in range(100_000):
        event = [event]

    with pytest.raises(WireError):
        refuse_larger(event, 1000)
    refuse_larger(event, 1_000_000)
