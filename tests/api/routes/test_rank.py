import json
import re
from typing import Any

import pytest
from msgspec.structs import replace

from judge_service.api import create_app
from judge_service.backends.scripted import Scripted
from judge_service.errors import Denied
from judge_service.settings import WireSettings
from judge_service.values import Prompt
from tests.api.conftest import QUIET, Talk, row, talking

LABEL = re.compile(r"<item (\w+) \w+>\n<response \w+>\n0\.(\d)")


def compare(prompt: Prompt) -> str:
    """A judge that finds each response as good as the number it names."""
    found = LABEL.findall(prompt.messages[1].content)
    entries = [{"ID": label, "similarity": int(digit) / 10} for label, digit in found]
    return json.dumps({"verdicts": entries})


def always_first(prompt: Prompt) -> str:
    """A judge that goes by position."""
    labels = re.findall(r"<item (\w+) \w+>", prompt.messages[1].content)
    entries = [{"ID": label, "similarity": 1 - place / 10} for place, label in enumerate(labels)]
    return json.dumps({"verdicts": entries})


def responses(*texts: str) -> dict[str, Any]:
    return {"samples": [row(f"r{i}", response=text) for i, text in enumerate(texts)]}


async def ranked(judge: Any, body: Any, **settings: Any) -> Any:
    app = create_app(replace(QUIET, **settings), environ={}, model=Scripted(judge))
    async with talking(app) as talk:
        answer = await talk.post("/v1/rank", body)
    assert answer.status_code == 200
    return answer.json()


async def test_every_response_gets_its_score_and_its_rank_in_order() -> None:
    reply = await ranked(compare, responses("0.2", "0.8", "0.5", "0.8"))

    assert [one["id"] for one in reply["rewards"]] == ["r0", "r1", "r2", "r3"]
    assert [one["score"] for one in reply["rewards"]] == pytest.approx([0.2, 0.8, 0.5, 0.8])
    assert [one["rank"] for one in reply["rewards"]] == [4, 1, 3, 1]
    assert (reply["compared"], reply["orders"], reply["consistency"]) == (True, 2, 1.0)
    assert reply["totals"]["rewards"] == 4


async def test_a_judge_that_goes_by_position_is_shown_to_be_inconsistent() -> None:
    reply = await ranked(always_first, responses("0.2", "0.8"))

    assert reply["consistency"] == 0.0
    assert [one["rank"] for one in reply["rewards"]] == [1, 1]


async def test_what_was_not_judged_has_a_reason_and_neither_score_nor_rank() -> None:
    reply = await ranked(lambda _prompt: Denied("down"), responses("0.2", "0.8"))

    assert {one["reason"] for one in reply["rewards"]} == {"denied"}
    assert {one["score"] for one in reply["rewards"]} == {None}
    assert {one["rank"] for one in reply["rewards"]} == {None}
    assert reply["consistency"] is None


async def test_scores_are_in_the_range_of_the_wire() -> None:
    body = responses("0.2", "0.8")
    reply = await ranked(compare, body, wire=WireSettings(score_range="-1..1"))

    assert [one["score"] for one in reply["rewards"]] == pytest.approx([-0.6, 0.6])


async def test_reasons_come_only_on_request() -> None:
    plain = await ranked(compare, responses("0.2", "0.8"))
    full = await ranked(compare, {**responses("0.2", "0.8"), "reasons": True})

    assert plain["rewards"][0].keys() == {"id", "score", "reason", "criteria", "rank"}
    assert "model" in full["rewards"][0]


async def test_the_embedded_judge_scores_each_alone_and_says_so() -> None:
    async with talking(create_app(QUIET, environ={})) as talk:
        body = responses("four", "no idea")
        reply = (await talk.post("/v1/rank", body)).json()

    assert (reply["compared"], reply["orders"], reply["consistency"]) == (False, 0, None)
    assert [one["rank"] for one in reply["rewards"]] == [1, 2]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "$"),
        (responses("0.1"), "$.samples"),
        (responses(*["0.1"] * 17), "$.samples"),
        ({"samples": [row(1), row(2, answer="five")]}, "$.samples[1]"),
        ({**responses("0.1", "0.2"), "model": "x"}, "$"),
    ],
)
async def test_what_is_no_group_is_refused_with_its_place(
    service: Talk, body: Any, field: str
) -> None:
    answer = await service.post("/v1/rank", body)

    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == field
