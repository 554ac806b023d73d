"""Sentences about refusals of Bedrock name what is wrong, where, and what to do."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from judge_service.aws.refusal import read_refusal
from judge_service.backends.bedrock.advice import resources
from judge_service.backends.bedrock.errors import error_of
from judge_service.errors import TooManyUnscored
from judge_service.http.reply import Reply
from judge_service.service import open_service
from judge_service.settings import load_settings
from judge_service.telemetry.events import SampleGraded
from judge_service.testing import RecordingSink

CASES = json.loads(
    (Path(__file__).parents[2] / "data/backends/bedrock_sentences.json").read_text(encoding="utf-8")
)
MODEL = "us.amazon.nova-lite-v1:0"
ROW = {
    "id": 1,
    "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}],
    "reference_answer": "!",
}
KEYS = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}


def settings_for(url: str, **more: str) -> Any:
    environ = {
        "JUDGE_BACKEND": "bedrock",
        "JUDGE_MODEL": MODEL,
        "JUDGE_BEDROCK_ENDPOINT_URL": url,
        "JUDGE_RETRY_MAX_ATTEMPTS": "1",
        "JUDGE_RETRY_MAX_THROTTLED": "0",
        **more,
    }
    return load_settings(None, environ)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_each_refusal_says_what_is_wrong_and_what_to_do(case: dict[str, Any]) -> None:
    body = json.dumps({"message": case["message"]}).encode()
    reply = Reply(case["status"], {"x-amzn-errortype": case["code"]}, body)

    error = error_of(read_refusal(reply), case.get("model", MODEL), case.get("region", "us-east-1"))

    sentence, _, said = str(error).partition(f" ({case['status']} ")
    assert sentence == case["sentence"]
    assert said == f"{case['code'].lower()} {case['message']}".strip() + ")"


@pytest.mark.parametrize(
    "name", ["no permission", "model not enabled", "tokens", "the day's tokens"]
)
async def test_it_arrives_where_the_user_looks(server: Any, answer: Any, name: str) -> None:
    case = next(case for case in CASES if case["name"] == name)
    headers = {"x-amzn-errortype": case["code"]}
    server.will(answer(case["status"], {"message": case["message"]}, headers))
    sink = RecordingSink()

    async with open_service(settings_for(server.url), environ=KEYS, sink=sink) as judge:
        with pytest.raises(TooManyUnscored) as caught:
            await judge.answer([ROW])
    async with open_service(settings_for(server.url), environ=KEYS) as judge:
        trial = await judge.try_out()

    [graded] = sink.of(SampleGraded)
    assert case["sentence"] in str(caught.value)
    assert case["sentence"] in graded.reward.detail
    assert case["sentence"] in trial.rewards[0].detail


async def test_our_own_time_limit_says_which_it_was(server: Any) -> None:
    async def silence(writer: Any) -> None:
        await writer.drain()

    server.will(silence)
    quick = settings_for(server.url, JUDGE_HTTP_CALL_TIMEOUT_S="0.3")
    async with open_service(quick, environ=KEYS) as judge:
        with pytest.raises(TooManyUnscored, match=r"within 0\.3 s: raise `http\.call_timeout_s`"):
            await judge.answer([ROW])
    async with open_service(settings_for(server.url), environ=KEYS) as judge:
        with pytest.raises(TooManyUnscored, match=r"raise `deadline_s`"):
            await judge.answer([ROW], deadline_s=0.3)


async def test_a_judge_that_cannot_be_reached_says_what_to_check() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        async with open_service(settings_for(url), environ=KEYS) as judge:
            found = (await judge.try_out()).rewards[0].detail

    assert found.startswith("the judge cannot be reached (")
    assert found.endswith("check region, endpoint and network")


def test_the_policy_to_allow_names_profile_and_model() -> None:
    named = resources(MODEL, "us-east-1")
    assert ":inference-profile/us.amazon.nova-lite-v1:0" in named
    assert "arn:aws:bedrock:*::foundation-model/amazon.nova-lite-v1:0" in named
    assert resources("a.b", "eu-west-1") == "arn:aws:bedrock:eu-west-1::foundation-model/a.b"
    assert resources("arn:x", "eu-west-1") == "arn:x"
