import asyncio
import json
import time
from collections import Counter
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from judge_service.api import create_app
from judge_service.backends.scripted import Scripted
from judge_service.errors import Denied
from judge_service.settings import LimitSettings, WireSettings
from tests.api.conftest import QUIET, Talk, quiet, row, running, talking

NDJSON = {"accept": "application/x-ndjson"}


def lines_of(answer: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_every_sample_gets_its_reward_in_order_with_its_id_as_sent(service: Talk) -> None:
    ids = [1, "1", None, True, 1.5, {"a": [1]}, "\ud800", 2**70, "дом"]

    answer = await service.post(
        "/v1/rewards", json.dumps({"samples": [row(one) for one in ids]}).encode()
    )

    assert answer.status_code == 200
    rewards = answer.json()["rewards"]
    assert [one["id"] for one in rewards] == ids
    assert [type(one["id"]) for one in rewards] == [type(one) for one in ids]
    assert [one["score"] for one in rewards] == [0.5] * len(ids)


async def test_a_sample_that_was_not_judged_has_a_reason_and_no_score(service: Talk) -> None:
    answer = await service.rewards(row(1), {"id": 2, "prompt": "no answer to it"})

    scored, missing = answer.json()["rewards"]
    assert (scored["score"], scored["reason"]) == (0.5, None)
    assert (missing["score"], missing["reason"]) == (None, "no_response")
    assert answer.json()["totals"]["unscored"] == 1


async def test_a_judge_that_is_down_costs_the_score_and_not_the_request() -> None:
    app = create_app(QUIET, environ={}, model=Scripted(lambda _prompt: Denied("down")))
    async with talking(app) as talk:
        answer = await talk.rewards(row(), reasons=True)

    (reward,) = answer.json()["rewards"]
    assert answer.status_code == 200
    assert (reward["score"], reward["reason"]) == (None, "denied")
    assert reward["criterion_reasons"] == {"similarity": "denied"}
    assert "down" in reward["detail"]


async def test_reasons_come_only_on_request(service: Talk) -> None:
    (plain,) = (await service.rewards(row())).json()["rewards"]
    (full,) = (await service.rewards(row(), reasons=True)).json()["rewards"]

    assert plain.keys() == {"id", "score", "reason", "criteria"}
    assert full.keys() - plain.keys() == {
        *("detail", "criterion_reasons", "model", "cached", "channel")
    }


BRIEF = """
name = "brief"
reasoning = "brief"
[[criteria]]
name = "quality"
description = "How good is it?"
"""


async def test_the_judges_reason_comes_only_on_request_in_every_form() -> None:
    judge = Scripted({"reason": "It is\x00 right.", "quality": 1})
    app = create_app(replace(QUIET, rubric=BRIEF), environ={}, model=judge)
    async with talking(app) as talk:
        (plain,) = (await talk.rewards(row())).json()["rewards"]
        (full,) = (await talk.rewards(row(), reasons=True)).json()["rewards"]
        body = {"samples": [row()], "reasons": True}
        line, _ = lines_of(await talk.post("/v1/rewards", body, headers=NDJSON))

    assert "explanation" not in plain
    assert full["explanation"] == line["explanation"] == "It is right."


async def test_scores_are_in_the_range_of_the_wire() -> None:
    settings = replace(QUIET, wire=WireSettings(score_range="-1..1"))
    app = create_app(settings, environ={}, model=Scripted(0.25))
    async with talking(app) as talk:
        (reward,) = (await talk.rewards(row())).json()["rewards"]

    assert (reward["score"], reward["criteria"]) == (-0.5, {"similarity": -0.5})


async def test_no_samples_are_a_batch_without_rewards(service: Talk) -> None:
    answer = await service.rewards()

    assert (answer.status_code, answer.json()["rewards"]) == (200, [])


@pytest.mark.parametrize(
    "field", ["model", "base_url", "endpoint_url", "rubric", "deadline_s", "config", "tenant"]
)
async def test_nothing_can_be_chosen_by_a_request(service: Talk, field: str) -> None:
    answer = await service.rewards(row(), **{field: "http://169.254.169.254/"})

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_request"


@pytest.mark.parametrize("field", ["model", "base_url", "endpoint_url", "rubric"])
async def test_such_columns_of_a_row_are_metadata(service: Talk, field: str) -> None:
    answer = await service.rewards(row(**{field: "http://169.254.169.254/"}))

    assert answer.json()["rewards"][0]["score"] == 0.5


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "$"),
        ({}, "$.samples"),
        ({"samples": {}}, "$.samples"),
        ({"samples": [1]}, "$.samples[0]"),
        ({"samples": [{"messages": 1}]}, "$.samples[0].messages"),
        ({"samples": [], "reasons": "yes"}, "$.reasons"),
    ],
)
async def test_a_wrong_body_is_refused_with_its_place(service: Talk, body: Any, field: str) -> None:
    answer = await service.post("/v1/rewards", body)

    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == field


HOSTILE = {
    "nested": b'{"samples":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "nested objects": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "beyond a float": b'{"samples":[{"id":1e400}]}',
    "beyond an integer": b'{"samples":[{"id":' + b"9" * 5_000 + b"}]}",
    "NaN": b'{"samples":[{"id":NaN}]}',
    "no UTF-8": b'{"samples":["\xff\xfe"]}',
    "cut off": b'{"samples":[{"id":1}',
    "empty": b"",
    "zeros": bytes(1_000_000),
    "a hundred thousand keys": b"{" + b",".join(b'"%d":1' % n for n in range(100_000)) + b"}",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("path", ["/v1/rewards", "/invocations"])
async def test_a_hostile_body_is_refused_at_once(service: Talk, path: str, body: bytes) -> None:
    began = time.process_time()
    answer = await service.post(path, body)
    cpu_s = time.process_time() - began

    assert answer.status_code == 400
    assert len(answer.content) < 500
    assert cpu_s < 0.5  # it takes 1 to 30 ms; a recursion without an end would take seconds


async def test_lone_surrogates_are_judged_and_come_back(service: Talk) -> None:
    body = b'{"samples":[{"id":"\\ud800","prompt":"\\udfff","response":"\\ud800","answer":"x"}]}'

    answer = await service.post("/v1/rewards", body)

    assert answer.status_code == 200
    assert b'"id":"\\ud800"' in answer.content


async def test_a_stream_gives_each_reward_as_it_is_ready() -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    app = create_app(QUIET, environ={}, model=Scripted(0.5))
    async with talking(app) as talk:
        judge = talk.app.state.judge
        grade = judge._grade

        async def gated(request: Any) -> Any:
            await gates[request.body.id].wait()
            return await grade(request)

        judge._grade = gated
        got: list[dict[str, Any]] = []
        gates[1].set()
        body = {"samples": [row(0), row(1)]}
        answer = await _collect(talk, body, got, gates)

    assert [one.get("index") for one in got] == [1, 0, None]
    assert got[-1]["totals"]["rewards"] == 2
    assert answer["content-type"] == "application/x-ndjson"


async def _collect(
    talk: Talk, body: Any, got: list[dict[str, Any]], gates: list[asyncio.Event]
) -> Any:
    """Speaks ASGI itself, because httpx's transport holds a stream back until it has ended."""
    started: dict[str, Any] = {}
    sent = asyncio.Event()

    async def receive() -> Any:
        if sent.is_set():
            await asyncio.Event().wait()
        sent.set()
        return {"type": "http.request", "body": json.dumps(body).encode()}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            started.update({k.decode(): v.decode() for k, v in message["headers"]})
        elif message.get("body"):
            got.append(json.loads(message["body"]))
            gates[0].set()  # only now may the first sample be judged

    headers = [(b"accept", b"application/x-ndjson")]
    scope = {"type": "http", "method": "POST", "path": "/v1/rewards", "headers": headers}
    await talk.app({**scope, "query_string": b""}, receive, send)
    return started


async def test_a_stream_that_is_not_admitted_is_an_ordinary_refusal(service: Talk) -> None:
    service.app.state.capacity.stop()

    answer = await service.post("/v1/rewards", {"samples": [row()]}, headers=NDJSON)

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "draining"


async def test_a_stream_that_breaks_off_says_so_in_its_last_line() -> None:
    app = create_app(quiet(), environ={}, model=Scripted(0.5))
    async with talking(app) as talk:
        judge = talk.app.state.judge
        grade = judge._grade
        first_is_done = asyncio.Event()

        async def second_fails(request: Any) -> Any:
            if request.body.id == 1:
                await first_is_done.wait()
                raise RuntimeError("secret")
            reward = await grade(request)
            asyncio.get_running_loop().call_later(0.01, first_is_done.set)
            return reward

        judge._grade = second_fails
        answer = await talk.post("/v1/rewards", {"samples": [row(0), row(1)]}, headers=NDJSON)

    first, last = lines_of(answer)
    assert first["score"] == 0.5
    assert last["error"]["code"] == "internal"
    assert "secret" not in answer.text


@pytest.mark.parametrize("sent", ["0", "-1", "soon", "nan"])
async def test_a_timeout_that_is_no_time_is_refused(service: Talk, sent: str) -> None:
    answer = await service.post(
        "/v1/rewards", {"samples": [row()]}, headers={"x-judge-timeout-s": sent}
    )

    assert answer.status_code == 400


async def test_a_caller_may_want_its_answer_sooner() -> None:
    app = create_app(QUIET, environ={}, model=Scripted(0.5, latency_s=0.4))
    async with talking(app) as talk:
        answer = await talk.post(
            "/v1/rewards", {"samples": [row()]}, headers={"x-judge-timeout-s": "0.1"}
        )

    assert answer.json()["rewards"][0]["reason"] == "deadline"


@pytest.mark.parametrize("headers", [{}, NDJSON], ids=["json", "ndjson"])
async def test_all_rows_are_answered_when_the_caller_wants_them(headers: dict[str, str]) -> None:
    """80 samples at a judge of four at once and 0.1 s: it would take 2 s, and the caller gives it 0.5 s."""
    judge = Scripted(0.5, latency_s=0.1)
    settings = replace(QUIET, limits=LimitSettings(max_in_flight=4, adaptive=False))
    body = {"samples": [row(number, response=f"answer {number}") for number in range(80)]}
    async with (
        running(create_app(settings, environ={}, model=judge), settings) as server,
        httpx.AsyncClient() as client,
    ):
        began_s = time.monotonic()
        answer = await client.post(
            f"{server.url}/v1/rewards", json=body, headers={"x-judge-timeout-s": "0.5", **headers}
        )
        took_s = time.monotonic() - began_s

    if headers:
        *rewards, last = lines_of(answer)
        rewards.sort(key=lambda one: one["index"])
    else:
        last = answer.json()
        rewards = last["rewards"]
    reasons = Counter(one["reason"] for one in rewards)
    assert took_s < 1.6
    assert [one["id"] for one in rewards] == list(range(80))
    assert reasons.keys() == {None, "deadline"}
    assert reasons[None] <= 20
    assert len(judge.prompts) <= 24  # nothing is asked that comes too late
    assert last["totals"]["unscored"] == reasons["deadline"]


async def test_a_mistake_of_ours_says_nothing_about_itself(
    service: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the secret of the house")

    service.app.state.judge.score = broken
    answer = await service.rewards(row())

    assert answer.status_code == 500
    assert answer.json() == {
        "error": {"code": "internal", "message": "the service failed; its log has the details"}
    }
    assert "the secret of the house" in caplog.text
    assert service.app.state.capacity.statistics().held_samples == 0
