"""The fast path for plain rows gives the same result as the general one, or is not used."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.wire.native import decode_native, decode_native_json
from judge_service.wire.native_rows import read_plain_batch

TEXTS = st.one_of(st.none(), st.text(max_size=5), st.sampled_from(["", "2", "\ud800", "é"]))
ROLES = st.sampled_from(["system", "user", "assistant", "nova_assistant"])
TURNS = st.lists(st.fixed_dictionaries({"role": ROLES, "content": TEXTS}), max_size=4)
IDS = st.one_of(st.none(), st.text(max_size=3), st.integers(), st.floats(0, 1), st.booleans())
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "id": IDS,
        "prompt": st.one_of(TEXTS, TURNS),
        "messages": st.one_of(st.none(), TURNS),
        "response": TEXTS,
        "reference": st.one_of(TEXTS, st.integers(0, 9)),
        "reference_answer": st.one_of(TEXTS, st.fixed_dictionaries({"text": TEXTS})),
        "topic": TEXTS,
    },
)


@given(st.lists(ROWS, max_size=3), st.booleans())
def test_plain_rows_mean_what_rows_mean(rows: list[dict[str, Any]], reasons: bool) -> None:
    body = {"samples": rows, "reasons": reasons}

    assert decode_native_json(json.dumps(body).encode()) == decode_native(body)


PLAIN: list[dict[str, Any]] = [
    {"id": "a", "prompt": "1 + 1?", "response": "2", "reference": "2"},
    {"id": 1, "prompt": "1 + 1?", "response": None},
    {
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        "reference_answer": "",
    },
]


@pytest.mark.parametrize("row", PLAIN)
def test_the_usual_forms_take_the_short_way(row: dict[str, Any]) -> None:
    found = read_plain_batch(json.dumps({"samples": [row]}).encode())

    assert found is not None
    assert found == (decode_native({"samples": [row]}).samples, False)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a", "response": "b", "completion": "c"},
        {"messages": [{"role": "user", "content": "a"}], "prompt": "b"},
        {"messages": [{"role": "assistant", "content": "gold"}, *PLAIN[2]["messages"][1:]]},
        {"prompt": "a", "reference": "b", "reference_answer": "c"},
        {"id": 10**400, "prompt": "a"},
        {"response": "b"},
        {"prompt": "a", "reference": None},
        {"messages": None, "prompt": "a"},
    ],
)
def test_a_row_with_something_to_weigh_takes_the_long_way(row: dict[str, Any]) -> None:
    assert read_plain_batch(json.dumps({"samples": [row]}).encode()) is None
