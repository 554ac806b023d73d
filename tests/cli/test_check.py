"""`judge check` scores one sample as a run would, and says what came of it."""

import argparse
import json
import socket
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from judge_service.assembly.trial import BUILT_IN
from judge_service.backends.scripted import Answer, Scripted
from judge_service.cli import check, main
from judge_service.cli.check import Finding
from judge_service.cli.check_report import MAX_ANSWER_CHARS, answer_of
from judge_service.errors import Denied
from judge_service.service import JudgeService, open_service
from judge_service.settings import LimitSettings, Settings
from judge_service.simulator import SimulatorConfig, simulate
from judge_service.telemetry.events import Sink
from judge_service.values import Completion, Prompt, Sample
from tests.cli.conftest import row, write_rows
from tests.raw_server import RawServer, reply, server

__all__ = ["server"]  # a fixture

RUBRIC = """
name = "two"
reasoning = "brief"
[[criteria]]
name = "quality"
description = "How good is it?"
[[criteria]]
name = "depth"
description = "How deep is it?"
"""
VERIFIED = """
name = "verified"
[[criteria]]
name = "has_five"
kind = "verify"
verify = "regex"
options = { pattern = "5" }
"""
KEYS = {
    "AWS_ACCESS_KEY_ID": "any",
    "AWS_SECRET_ACCESS_KEY": "any",
    "OPENAI_API_KEY": "sk-proj-0123456789",
}
NOWHERE = "redis://:sesame-open@127.0.0.1:9/0"

Checked = tuple[list[Finding], Any]


async def checked(
    samples: Sequence[Sample] = (), *, double: Any = None, rubric: str = RUBRIC, **settings: Any
) -> Checked:
    """What the command finds with these settings; `double` in place of the configured backend."""
    given = {"backend": "bedrock", "model": "m", "rubric": rubric, **settings}

    def opener(chosen: Settings, sink: Sink) -> AbstractAsyncContextManager[JudgeService]:
        return open_service(chosen, environ=KEYS, sink=sink, model=double)

    return await check.try_judge(msgspec.convert(given, Settings), samples, opener)


def at(url: str, backend: str) -> dict[str, Any]:
    """Settings of a judge there."""
    place = {"base_url": f"{url}/v1"} if backend == "openai" else {"endpoint_url": url}
    if backend != "openai":
        place["region"] = "us-east-1"
    return {"backend": backend, "model": "us.amazon.nova-lite-v1:0", backend: place}


def texts(findings: Sequence[Finding], level: str, area: str) -> list[str]:
    return [one.text for one in findings if (one.level, one.area) == (level, area)]


def problems(findings: Sequence[Finding]) -> list[str]:
    return [one.text for one in findings if one.level == "problem"]


@pytest.mark.parametrize(
    ("backend", "channel"), [("openai", "schema"), ("bedrock", "tool"), ("sagemaker", "schema")]
)
async def test_it_says_the_channel_the_cost_the_time_and_the_answer(
    backend: str, channel: str
) -> None:
    async with simulate(SimulatorConfig()) as simulator:
        findings, record = await checked(**at(simulator.url, backend))
        [event] = simulator.events()

    assert problems(findings) == []
    [call], [reward] = record["calls"], record["rewards"]
    assert (call["channel"], call["usable"], call["error"]) == (channel, True, None)
    assert call["input_tokens"] > 100
    assert call["output_tokens"] > 5
    assert call["max_output_tokens"] == event.max_output_tokens > 100
    assert json.loads(call["answer"])["reason"] == reward["explanation"] != ""
    assert 0 <= reward["score"] <= 1
    first, answered = texts(findings, "ok", "judge")
    assert f"answers through `{channel}`: 1 call(s), {call['input_tokens']} + " in first
    assert first.endswith(" s")
    assert answered.endswith(call["answer"])
    assert reward["explanation"] in texts(findings, "ok", "sample")[0]


@pytest.mark.parametrize("backend", ["openai", "bedrock", "sagemaker"])
async def test_it_sends_the_request_that_scoring_sends(backend: str, server: RawServer) -> None:
    server.will(reply(400, {"message": "no", "error": {"message": "no"}}))
    settings = at(server.url, backend) | {"temperature": 0.5}
    await checked(**settings)
    given = msgspec.convert({"rubric": RUBRIC, **settings}, Settings)
    async with open_service(given, environ=KEYS) as judge:
        await judge.score(BUILT_IN[:1])

    one, other = (json.loads(received.body) for received in server.received)
    for body in (one, other):  # all but the fence, whose secret is each process's own
        assert "Two plus three equals 5." in json.dumps(body.pop("messages"))
    assert one == other
    assert "0.5" in json.dumps(one)


async def test_the_embedded_judge_is_asked_too() -> None:
    findings, record = await checked(backend="local", model="", rubric="similarity")

    [call] = record["calls"]
    assert call["usable"]
    assert record["rewards"][0]["score"] > 0.5
    assert [text for text in problems(findings) if "chrF" not in text] == []


async def test_programs_need_no_judge() -> None:
    findings, record = await checked(rubric=VERIFIED)

    assert problems(findings) == []
    assert (record["calls"], record["rewards"][0]["score"]) == ([], 1.0)
    assert "no judge was called" in texts(findings, "ok", "judge")[0]


@pytest.mark.parametrize(
    ("answer", "stop", "says"),
    [
        ("I would say 7 of 10", "complete", "set another `answer` channel, or use another judge"),
        ('{"quality": 0.5, "dep', "max_tokens", "raise the rubric's `max_output_tokens`"),
        ("", "refused", "reword the rubric, or use another judge"),
    ],
)
async def test_a_judge_that_cannot_hold_the_form_is_found(
    answer: str, stop: Any, says: str
) -> None:
    model = Scripted(Completion(text=answer, stop_reason=stop))
    findings, record = await checked(double=model)

    assert not any(call["usable"] for call in record["calls"])
    assert says in problems(findings)[-1]
    assert answer in problems(findings)[0]


async def test_an_answer_that_only_a_second_try_gave_is_a_warning() -> None:
    findings, record = await checked(double=Scripted(["hm", {"quality": 1, "depth": 1}]))

    assert [call["usable"] for call in record["calls"]] == [False, True]
    assert problems(findings) == []
    text, *_ = texts(findings, "warning", "judge")
    assert text.endswith("is not a verdict: hm")


async def test_a_refused_channel_is_told_with_what_spares_it() -> None:
    async with simulate(SimulatorConfig(refuses_schema=True)) as simulator:
        findings, record = await checked(**at(simulator.url, "openai"))

    assert problems(findings) == []
    assert [call["channel"] for call in record["calls"]] == ["schema", "tool"]
    assert 'does not answer through `schema` and is called through `tool`; `answer = "tool"`' in (
        " ".join(texts(findings, "warning", "judge"))
    )


@pytest.mark.parametrize("backend", ["openai", "bedrock", "sagemaker"])
async def test_a_judge_that_refuses_a_temperature_is_usable_and_told_of(backend: str) -> None:
    async with simulate(SimulatorConfig(refuses_temperature=True)) as simulator:
        findings, record = await checked(**at(simulator.url, backend))
        statuses = [event.status for event in simulator.events()]

    assert problems(findings) == []
    assert record["rewards"][0]["score"] is not None
    assert record["calls"][0]["changes"] == "no temperature"
    assert len(statuses) == 2
    [text] = texts(findings, "warning", "judge")
    assert "is called with no temperature" in text


async def test_a_judge_that_refuses_one_token_is_none_of_its_business() -> None:
    """The check once asked for one token, and such judges failed it and worked."""

    def answer(prompt: Prompt) -> Answer:
        return Denied("too few") if prompt.max_output_tokens < 16 else {"quality": 1, "depth": 1}

    findings, _ = await checked(double=Scripted(answer))

    assert problems(findings) == []


async def test_a_refused_call_is_a_problem_in_its_own_words() -> None:
    async with simulate(SimulatorConfig(access_denied_rate=1)) as simulator:
        findings, _ = await checked(**at(simulator.url, "bedrock"))

    [text] = problems(findings)
    assert "enable it in the Bedrock console of that region" in text


async def test_a_busy_judge_is_a_warning() -> None:
    async with simulate(SimulatorConfig(throttle_rate=1)) as simulator:
        findings, _ = await checked(
            **at(simulator.url, "openai"), retry={"max_throttled": 1}, deadline_s=5.0
        )

    assert problems(findings) == []
    assert "accepts calls and is only busy" in texts(findings, "warning", "judge")[-1]


async def test_a_key_that_the_server_echoes_is_not_told(server: RawServer) -> None:
    server.will(reply(401, {"error": {"message": f"wrong key {KEYS['OPENAI_API_KEY']}"}}))
    findings, record = await checked(**at(server.url, "openai"))

    said = f"{findings} {record}"
    assert "wrong key ***" in said
    assert KEYS["OPENAI_API_KEY"] not in said


@pytest.mark.parametrize(("store", "place"), [("redis", NOWHERE), ("dynamodb", "a-table")])
async def test_stores_that_do_not_answer_are_problems(
    store: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KEYS, "AWS_REGION", "us-east-1")
    monkeypatch.setitem(KEYS, "AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
    async with simulate(SimulatorConfig()) as simulator:
        findings, record = await checked(
            **at(simulator.url, "openai"),
            cache={"redis_url": NOWHERE},
            limits={"store": store, "store_url": place, "requests_per_minute": 600},
        )

    quota, cache = problems(findings)
    assert "the quota's store does not answer" in quota
    assert "check `cache.redis_url`" in cache
    assert "sesame-open" not in quota + cache
    assert record["rewards"][0]["score"] is not None, "the judge is asked all the same"


async def test_a_target_to_fail_over_to_is_tried_too(server: RawServer) -> None:
    async with simulate(SimulatorConfig()) as simulator:
        simulator.script(None, "access_denied")
        findings, _ = await checked(
            **at(simulator.url, "openai"), failover={"models": ["eu.amazon.nova-lite-v1:0"]}
        )
        models = [event.model for event in simulator.events()]

    assert models == ["us.amazon.nova-lite-v1:0", "eu.amazon.nova-lite-v1:0"]
    [text] = problems(findings)
    assert text.startswith("openai eu.amazon.nova-lite-v1:0: ")


@pytest.mark.parametrize(
    "settings",
    [
        {"pack": {"max_samples": 4}},
        {"rubric": RUBRIC.replace('"two"\n', '"two"\ncompare = "group"\n', 1)},
    ],
)
async def test_a_call_about_several_samples_is_tried_with_two(settings: dict[str, Any]) -> None:
    async with simulate(SimulatorConfig()) as simulator:
        findings, record = await checked(**at(simulator.url, "openai"), **settings)

    assert problems(findings) == []
    assert len(record["rewards"]) == 2
    assert all('"verdicts"' in call["answer"] for call in record["calls"])


async def test_every_opinion_of_a_vote_is_asked_for() -> None:
    votes = [{"quality": n, "depth": n} for n in (0, 1, 0.5)]
    _, record = await checked(double=Scripted(votes), vote={"draws": 3}, temperature=1.0)

    assert [call["temperature"] for call in record["calls"]] == [1.0] * 3


async def test_no_cache_answers_in_place_of_the_judge() -> None:
    model = Scripted({"quality": 1, "depth": 1})
    given = {"backend": "bedrock", "model": "m", "rubric": RUBRIC}
    async with open_service(msgspec.convert(given, Settings), model=model) as judge:
        await judge.score(BUILT_IN[:1])
        trial = await judge.try_out()

    assert len(model.prompts) == 2
    assert [call.completion.cached for call in trial.calls if call.completion] == [False]


async def test_a_built_in_sample_that_a_rubric_cannot_use_is_no_problem_of_the_judge() -> None:
    rubric = VERIFIED.replace('"regex"', '"choice"').replace('{ pattern = "5" }', "{}")
    findings, record = await checked(rubric=rubric)

    assert problems(findings) == []
    assert record["rewards"][0]["score"] is None
    assert "check with a row that has it: --sample FILE" in texts(findings, "warning", "sample")[0]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\x1b[31m\u202e", r"a\nb\x1b[31m\u202e"),
        ("x" * 500, "x" * MAX_ANSWER_CHARS + "..."),
        ("", "(an empty text)"),
        (None, "(nothing)"),
    ],
)
def test_a_raw_answer_is_shown_bounded_and_without_control_characters(
    text: str | None, shown: str
) -> None:
    assert answer_of(Completion(text=text)) == shown


def arguments(file: Path) -> argparse.Namespace:
    return argparse.Namespace(config=None, sample=str(file))


def test_a_sample_of_a_file_is_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Scripted(0.5)

    def opener(settings: Settings, sink: Sink) -> AbstractAsyncContextManager[JudgeService]:
        return open_service(settings, environ={}, sink=sink, model=model)

    monkeypatch.delenv("JUDGE_CONFIG", raising=False)
    file = write_rows(tmp_path / "rows.jsonl", [row(1, answer="mine"), row(2)])
    findings, record = check.find(arguments(file), opener)

    assert problems(findings) == []
    assert record is not None
    assert not record["built_in_sample"]
    [prompt] = model.prompts
    assert prompt.question.response == "mine"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "rows.jsonl"),
        ('{"id": 1}\n', "the row has no response"),
        ('{"id": 1, "prompt": "no answer to it"}\n', "check with a row that has it"),
    ],
)
def test_a_sample_that_cannot_be_judged_is_a_problem(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str,
    says: str,
) -> None:
    monkeypatch.delenv("JUDGE_CONFIG", raising=False)
    file = tmp_path / "rows.jsonl"
    file.write_text(content)

    assert main(["check", "--sample", str(file)]) == 2
    assert says in "".join(capsys.readouterr())


def test_a_file_that_is_not_there_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--sample", "nowhere.jsonl"]) == 2
    assert "nowhere.jsonl" in "".join(capsys.readouterr())


def test_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {"BACKEND": "openai", "MODEL": "m"}.items():
        monkeypatch.setenv(f"JUDGE_{name}", value)
    monkeypatch.setenv("JUDGE_OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")

    assert main(["check", "--json"]) == 2


async def test_a_quota_that_slows_the_embedded_judge_is_told() -> None:
    findings, _ = await checked(
        backend="local",
        model="",
        rubric="similarity",
        limits=LimitSettings(requests_per_minute=60),
    )

    [quota] = [one for one in findings if one.area == "quota"]
    assert "1.0 evaluations/s" in quota.text
    assert "limits.requests_per_minute" in quota.text


def test_a_forgotten_backend_is_a_problem_and_not_another_judge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "judge.toml"
    config.write_text('model = "us.amazon.nova-lite-v1:0"\n[bedrock]\nregion = "us-east-1"\n')

    assert main(["check", "--config", str(config)]) == 2
    assert 'write `backend = "bedrock"`' in capsys.readouterr().out
