import pytest
from msgspec import UNSET

from judge_service.errors import WireError
from judge_service.values import Part, Reward, Usage
from judge_service.wire.native import decode_native, native_reply, native_totals

ROW = {"id": 1, "prompt": "2 + 2?", "response": "4"}


def test_rows_are_read_in_any_form() -> None:
    batch = decode_native({"samples": [ROW, {"id": "b", "query": "q", "model_response": "r"}]})

    assert [sample.response for sample in batch.samples] == ["4", "r"]
    assert not batch.reasons


@pytest.mark.parametrize("body", [{"samples": [], "model": "gpt"}, {"samples": [], "": 1}])
def test_a_field_that_would_do_nothing_is_refused_and_not_quoted(body: object) -> None:
    with pytest.raises(WireError) as caught:
        decode_native(body)

    assert "gpt" not in str(caught.value)


def test_the_wire_range_is_applied_to_the_score_and_every_criterion() -> None:
    batch = decode_native({"samples": [ROW]})
    parts = (Part("good", 1.0, 1.0), Part("short", None, 1.0, "cannot_judge"))
    rewards = [Reward(score=0.5, parts=parts)]

    (reward,) = native_reply(batch, rewards, "-1..1").rewards

    assert (reward.score, reward.criteria) == (0.0, {"good": 1.0, "short": None})


def test_other_numbers_of_a_grader_come_along() -> None:
    batch = decode_native({"samples": [ROW]})

    (reward,) = native_reply(batch, [Reward(score=1.0, metrics={"length": 3.0})], "0..1").rewards

    assert reward.metrics == {"length": 3.0}


def test_totals_add_up_what_was_spent() -> None:
    spent = Usage(input_tokens=10, cache_read_tokens=5, output_tokens=2, calls=1)
    rewards = [
        Reward(score=1.0, usage=spent, cost_usd=0.25),
        Reward(score=None, reason="no_response"),
        Reward(score=0.0, usage=spent, cost_usd=0.5),
    ]

    totals = native_totals(rewards)

    assert (totals.rewards, totals.unscored, totals.calls) == (3, 1, 2)
    assert (totals.input_tokens, totals.output_tokens, totals.cost_usd) == (30, 4, 0.75)
    assert (totals.cache_read_tokens, totals.cache_write_tokens) == (10, 0)
    assert native_totals([]).cache_read_tokens is UNSET


def test_one_call_without_a_price_makes_the_cost_unknown() -> None:
    rewards = [
        Reward(score=1.0, usage=Usage(calls=1), cost_usd=None),
        Reward(score=1.0, usage=Usage(calls=1), cost_usd=0.5),
    ]

    assert native_totals(rewards).cost_usd is None


def test_a_reply_without_samples_is_empty() -> None:
    reply = native_reply(decode_native({"samples": []}), [], "0..1")

    assert (reply.rewards, reply.totals.rewards) == ([], 0)


def test_an_unknown_field_is_named_bounded_and_in_ascii() -> None:
    with pytest.raises(WireError, match=r"^\$: has the field 'sample'; only `samples`"):
        decode_native({"sample": []})
    with pytest.raises(WireError) as caught:
        decode_native({"\ud800\n" + "x" * 10_000: []})
    assert len(str(caught.value).encode()) < 200
    assert "\n" not in str(caught.value)
