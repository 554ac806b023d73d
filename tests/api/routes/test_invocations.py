import json
from typing import Any

import pytest

from judge_service.api import create_app
from judge_service.backends.scripted import Scripted
from judge_service.errors import Denied
from tests.api.conftest import QUIET, Talk, row, talking

ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"


@pytest.mark.parametrize(
    "event",
    [
        [row(7)],
        row(7),
        {"batch": [row(7)]},
        [{"id": 7, "messages": [{"role": "assistant", "content": "4"}], "reference_answer": "4"}],
        [{"id": 7, "query": "2 + 2?", "model_response": "4", "response": "four"}],
    ],
)
async def test_any_dialect_is_answered_in_the_callers_form(service: Talk, event: Any) -> None:
    answer = await service.post("/invocations", event)

    (item,) = answer.json()
    assert (item["id"], item["aggregate_reward_score"]) == (7, 0.5)


async def test_an_http_like_event_gets_an_http_like_message(service: Talk) -> None:
    answer = await service.post("/invocations", {"body": json.dumps([row(7)])})

    assert answer.json()["statusCode"] == 200
    assert json.loads(answer.json()["body"])[0]["id"] == 7


async def test_custom_attributes_are_returned_as_sent(service: Talk) -> None:
    answer = await service.post("/invocations", [row()], headers={ATTRIBUTES: "trace=1; run=a b"})

    assert answer.headers[ATTRIBUTES] == "trace=1; run=a b"


@pytest.mark.parametrize("value", [b"\xff", b"a\tb", b"x" * 1025, b""])
async def test_attributes_that_sagemaker_would_not_pass_are_not_returned(
    service: Talk, value: bytes
) -> None:
    answer = await service.client.post(
        "/invocations", json=[row()], headers={ATTRIBUTES.encode(): value}
    )

    assert answer.status_code == 200
    assert ATTRIBUTES not in answer.headers


async def test_without_attributes_there_are_none_in_the_answer(service: Talk) -> None:
    assert ATTRIBUTES not in (await service.post("/invocations", [row()])).headers


async def test_a_batch_that_could_not_be_judged_fails_so_that_it_is_sent_again() -> None:
    app = create_app(QUIET, environ={}, model=Scripted(lambda _prompt: Denied("no access")))
    async with talking(app) as talk:
        answer = await talk.post("/invocations", [row(1), row(2)])

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "too_many_unscored"
    assert int(answer.headers["retry-after"]) > 0


async def test_an_event_that_is_no_batch_is_refused_with_its_place(service: Talk) -> None:
    answer = await service.post("/invocations", {"body": {"batch": [{"messages": 3}]}})

    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == "$.body.batch[0].messages"
