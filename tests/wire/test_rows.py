"""Rows that the dialect tables do not cover."""

import json
from pathlib import Path
from typing import Any

import pytest

from judge_service.errors import WireError
from judge_service.values import NO_METADATA, Message
from judge_service.wire import decode_row

DATA = Path(__file__).parent.parent / "data" / "wire"
REFERENCES = json.loads((DATA / "references.json").read_text(encoding="utf-8"))


def conversation(*turns: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


@pytest.mark.parametrize("case", REFERENCES, ids=lambda case: json.dumps(case["row"])[:70])
def test_the_first_place_that_holds_a_reference_is_taken(case: dict[str, Any]) -> None:
    assert decode_row({"messages": [], **case["row"]}).reference == case["reference"]


def test_an_explicit_reference_wins_over_every_gold_that_a_shape_implies() -> None:
    rows = [
        conversation(("assistant", "gold"), ("assistant", "answer")),
        {"prompt": "a", "completion": "answer", "chosen": "gold"},
        {"query": "a", "model_response": "answer", "response": "gold"},
    ]
    for row in rows:
        assert decode_row(row).reference == "gold"
        assert decode_row({**row, "answer": "explicit"}).reference == "explicit"
        assert decode_row(row).response == "answer"


@pytest.mark.parametrize("value", [float("nan"), {"a": [float("inf")]}, {"a": {1, 2}}])
def test_a_reference_that_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(WireError) as caught:
        decode_row({"metadata": {"reference_answer": value}}, "$[2]")
    assert caught.value.field == "$[2].metadata.reference_answer"


def test_a_reference_too_deep_to_render_is_refused() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(WireError, match="reference_answer"):
        decode_row({"reference_answer": deep})


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a", "a"),
        (None, ""),
        ([], ""),
        ([{"type": "text", "text": "a"}, {"text": "b"}, "c"], "a\nb\nc"),
        ([{"type": "image", "source": "x"}, {"type": "text", "text": "a"}], "a"),
        ([{"type": "reasoning", "text": "thought"}, {"type": "output_text", "text": "a"}], "a"),
        ([{"reasoningContent": {"reasoningText": {"text": "thought"}}}, {"text": "a"}], "a"),
        ([{"type": ["text"], "text": "a"}], ""),
        ({"text": "a"}, "a"),
        ({"text": None}, ""),
        ("a\x00\x1b", "a\x00\x1b"),
    ],
)
def test_every_form_of_content_becomes_text(content: Any, text: str) -> None:
    assert decode_row(conversation(("assistant", content))).response == text
    (message,) = decode_row(conversation(("user", content))).messages
    assert (message.role, message.content) == ("user", text)


@pytest.mark.parametrize(
    ("content", "unseen"),
    [
        ("a", ()),
        ([{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "t"}], ()),
        ([{"type": "tool_use", "name": "f", "input": {"image": 1}}], ()),
        ([{"type": "image_url", "image_url": {}}, {"type": "image"}], ("image",)),
        ([{"video": {}}, {"text": "a"}, {"type": "input_audio"}], ("audio", "video")),
        ([{"document": {"name": "d"}}], ("document",)),
        ([{"type": ["image"]}], ()),
    ],
)
def test_what_is_no_text_is_not_lost_without_a_word(content: Any, unseen: tuple[str, ...]) -> None:
    assert decode_row(conversation(("assistant", content))).unseen == unseen
    (message,) = decode_row(conversation(("user", content))).messages
    assert message.unseen == unseen
    prompted = decode_row({"prompt": content, "response": content})
    assert (prompted.messages[0].unseen, prompted.unseen) == (unseen, unseen)


def test_a_picture_beside_the_content_of_a_message_is_not_lost_either() -> None:
    def answered(**fields: Any) -> tuple[str, ...]:
        answer = {"role": "assistant", "content": None, **fields}
        return decode_row({"messages": [{"role": "user", "content": "Draw!"}, answer]}).unseen

    assert answered(images=[{"image_url": {}}]) == ("image",)
    assert answered(audio={"id": "a"}, content=[{"type": "image"}]) == ("audio", "image")
    assert answered(audio=None, images=[]) == ()


def test_a_missing_answer_is_none_and_an_empty_one_is_empty() -> None:
    assert decode_row(conversation(("user", "a"))).response is None
    assert decode_row(conversation(("user", "a"), ("assistant", None))).response == ""
    assert decode_row({"prompt": "a", "completion": None}).response is None
    assert decode_row({"prompt": "a", "completion": ""}).response == ""
    assert decode_row({"messages": []}).response is None
    assert decode_row({"messages": None}).response is None
    assert decode_row({}).response is None


def test_a_conversation_that_ends_with_the_user_has_no_answer() -> None:
    sample = decode_row(conversation(("user", "a"), ("assistant", "b"), ("user", "c")))

    assert sample.response is None
    assert [message.content for message in sample.messages] == ["a", "b", "c"]


def test_a_column_called_response_beside_messages_is_never_the_answer() -> None:
    sample = decode_row(conversation(("user", "a")) | {"response": "gold", "completion": "gold"})

    assert sample.response is None
    assert sample.metadata == {"response": "gold", "completion": "gold"}


def test_other_names_of_roles_are_ours() -> None:
    row = conversation(("developer", "s"), ("user", "a"), ("tool", "t"), ("nova_assistant", "b"))
    sample = decode_row(row)

    assert [message.role for message in sample.messages] == ["system", "user", "tool"]
    assert sample.response == "b"


def test_an_answer_of_nothing_but_tool_calls_is_not_empty() -> None:
    calls = [{"function": {"name": "look", "arguments": '{"at":"Zoë"}'}}]
    row = {"messages": [{"role": "assistant", "content": None, "tool_calls": calls}]}

    assert json.loads(decode_row(row).response or "") == calls


def test_a_prompt_that_ends_with_another_answer_keeps_it_as_gold() -> None:
    prompt = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "gold"}]
    sample = decode_row({"prompt": prompt, "response": "answer"})

    assert (sample.response, sample.reference) == ("answer", "gold")
    assert sample.messages == (Message("user", "a"),)


def test_an_answer_that_the_prompt_repeats_is_not_its_own_gold() -> None:
    prompt = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "answer"}]
    sample = decode_row({"prompt": prompt, "response": "answer"})

    assert (sample.response, sample.reference) == ("answer", None)


def test_model_response_is_the_answer_beside_any_form_of_question() -> None:
    for question in ({"query": "a"}, {"prompt": "a"}, conversation(("user", "a"))):
        sample = decode_row({**question, "model_response": "b"})
        assert (sample.messages, sample.response) == ((Message("user", "a"),), "b")
        assert sample.metadata is NO_METADATA


def test_lone_surrogates_in_texts_are_replaced_and_pairs_are_joined() -> None:
    sample = decode_row(
        {
            **conversation(("u\ud800", "a\udfff"), ("assistant", "é\ud83d\ude00\ud83d")),
            "reference_answer": {"x": "\udc00", "y": "z"},
        }
    )
    assert sample.response == "é😀\ufffd"
    assert sample.messages == (Message("u\ufffd", "a\ufffd"),)
    assert sample.reference == '{"x":"\ufffd","y":"z"}'


def test_rows_of_one_prompt_share_their_group_whatever_was_answered() -> None:
    def key(*turns: tuple[str, str]) -> str:
        return decode_row(conversation(*turns)).group_key

    asked = (("system", "s"), ("user", "a"))
    assert key(*asked, ("assistant", "b")) == key(*asked, ("assistant", "c")) == key(*asked)
    own_turns = (*asked, ("assistant", "call"), ("tool", "result"), ("assistant", "b"))
    assert key(*own_turns) == key(*asked)
    assert key(*asked) != key(("system", "s"), ("user", "b"))
    for glued in ("auser:1:b", "auser:b", "ab"):
        assert key(("user", "a"), ("user", "b")) != key(("user", glued))
    assert key(("user", "1:a")) != key(("user", "a"))


def test_rows_without_a_prompt_are_in_no_group() -> None:
    assert decode_row({"response": "a"}).group_key == ""


IDS = ["", "1", 1, 1.0, 10**30, True, False, None, [], ["a", {"b": None}], {"a": [1.5]}, "\ud800"]


@pytest.mark.parametrize("value", [*IDS, "x" * 1_000_000], ids=lambda value: repr(value)[:20])
def test_an_id_is_kept_as_it_is(value: Any) -> None:
    assert decode_row({"id": value, "messages": []}).id is value


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("-inf"), 10**400, [float("nan")], {"a": float("inf")}, {1: 2}, {1}, b"a"],
    ids=repr,
)
def test_an_id_that_json_cannot_echo_is_refused(value: Any) -> None:
    with pytest.raises(WireError) as caught:
        decode_row({"id": value, "messages": []}, "$[4]")
    assert caught.value.field == "$[4].id"


def test_the_place_of_the_row_opens_the_error() -> None:
    with pytest.raises(WireError, match=r"^line 7: a row must be an object, not a number$"):
        decode_row(3, "line 7")
