"""Every sentence of docs/errors.md is produced by the code, and the page has all sentences about Bedrock."""

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from judge_service.aws.identity_source import identity_source
from judge_service.aws.refusal import read_refusal
from judge_service.backends.answer import refuse_unseen
from judge_service.backends.bedrock.errors import error_of
from judge_service.backends.scripted import Scripted
from judge_service.errors import Denied, JudgeServiceError, QuotaExhausted
from judge_service.flow import Request
from judge_service.flow.admission.bucket import Limit
from judge_service.grading import load_rubric, open_custom_grader
from judge_service.grading.outage import Outage
from judge_service.http import failures
from judge_service.http.reply import Reply
from judge_service.service import open_service
from judge_service.settings import load_settings
from judge_service.testing import run_virtual
from judge_service.values import Message, Prompt, Question, Reward, Sample, Usage, Wait
from lambda_adapter.rollout_queue import answer_queue
from tests.flow.gates import new_gate

ROOT = Path(__file__).parents[2]
KEYS = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}


def rows() -> list[str]:
    page = (ROOT / "docs" / "errors.md").read_text()
    cells = [
        line.split(" | ")[0].removeprefix("| ") for line in page.splitlines() if line[:2] == "| "
    ]
    return [cell for cell in cells if cell != "what you see"]


def pattern(sentence: str) -> re.Pattern[str]:
    """`…` stands for anything. Where the page quotes a path, the message does not."""
    sentence = sentence.replace("`$…`", "$…")
    return re.compile(re.escape(sentence).replace("…", ".+"))


def bedrock() -> Iterator[str]:
    data = ROOT / "tests" / "data" / "backends" / "bedrock_sentences.json"
    for case in json.loads(data.read_text()):
        body = json.dumps({"message": case["message"]}).encode()
        reply = Reply(case["status"], {"x-amzn-errortype": case["code"]}, body)
        model, region = (
            case.get("model", "us.amazon.nova-lite-v1:0"),
            case.get("region", "us-east-1"),
        )
        yield str(error_of(read_refusal(reply), model, region))


def transport() -> Iterator[str]:
    yield str(failures.timed_out(60.0, at_deadline=False))
    yield str(failures.timed_out(60.0, at_deadline=True))
    for failure in (failures.unreachable, failures.untrusted, failures.exhausted):
        yield str(failure("a cause"))
    yield str(failures.broken("a cause"))
    yield str(failures.unreadable("a cause"))
    yield str(failures.interrupted("error"))
    yield str(failures.refused("400"))
    yield str(failures.too_long("400"))
    words = Message("user", "word " * 4_000)
    asked = Prompt(question=Question(criteria=(), task="", response=""), messages=(words,))
    with pytest.raises(JudgeServiceError) as caught:
        refuse_unseen(asked, Usage(input_tokens=2_048))
    yield str(caught.value)
    yield str(failures.oversize(4_000_000))


async def raised(work: Any) -> str:
    with pytest.raises(JudgeServiceError) as caught:
        await work
    return str(caught.value)


async def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    nobody = identity_source({"AWS_REGION": "us-east-1"})
    expired = identity_source(KEYS)
    nowhere = identity_source({**KEYS, "AWS_REGION": ""})
    return [
        await raised(nobody.get()),
        await raised(expired.renew(await expired.get())),
        await raised(nowhere.region()),
    ]


def flow() -> Iterator[str]:
    async def spent(_request: Any) -> Any:
        raise QuotaExhausted("for the day")

    async def breaker() -> str:
        gate = new_gate(target="bedrock us-east-1 m")
        for _ in range(2):
            said = await raised(gate(Request("q"), spent))
        return said

    async def late() -> str:
        gate = new_gate({"requests": Limit(per_minute=1, burst_s=60)})

        async def answer(_request: Any) -> str:
            return "a"

        loop = asyncio.get_running_loop()
        await gate(Request("q"), answer)
        return await raised(gate(Request("q", loop.time() + 1), answer))

    async def waiting() -> str:
        async def ask() -> Reward:
            return Reward(score=None, reason="unavailable", detail="nobody listens")

        async def tell(_wait: Wait) -> None: ...

        outage = Outage(ask=ask, tell=tell, max_wait_s=10.0)
        return await raised(outage(Request(Sample(response="x")), lambda _: ask()))

    yield run_virtual(waiting())
    yield run_virtual(breaker())
    yield run_virtual(late())


def settings(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "judge.toml").write_text("modell = 'x'")
    (tmp_path / "rubric.toml").write_text(
        'name = "r"\n[[criteria]]\nname = "c"\ndescription = "d"\nweight = "much"\n'
    )
    for work in (
        lambda: load_settings(tmp_path / "judge.toml"),
        lambda: load_settings(None, {"JUDGE_BACKEND": "bedrock"}),
        lambda: load_rubric(str(tmp_path / "none.toml")),
        lambda: load_rubric(str(tmp_path / "rubric.toml")),
    ):
        with pytest.raises(JudgeServiceError) as caught:
            work()
        yield str(caught.value)


GRADERS = """
import threading
gate = threading.Event()
def fails(sample): raise ValueError("a bug")
def vague(sample): return "good"
def hangs(sample): gate.wait(2)
def strange(response): return 1
"""


async def custom_graders(tmp_path: Path) -> list[str]:
    (path := tmp_path / "graders.py").write_text(GRADERS)
    (tmp_path / "broken.py").write_text("import no_such_module")
    said = []
    for name in ("fails", "vague", "hangs"):
        grader = await open_custom_grader(f"{path}:{name}", timeout_s=0.02)
        grader._threads._max_threads = 1
        said += [(await grader(Request(Sample(response="x")))).detail for _ in range(2)]
        sys.modules["judge_grader_graders"].gate.set()
        grader.close()
    for spec in (f"{tmp_path}/broken.py:f", "no_such_module:f", f"{path}:none", f"{path}:strange"):
        said.append(await raised(open_custom_grader(spec, timeout_s=1.0)))
    return said


async def entry_points() -> list[str]:
    row = {"id": 1, "messages": [{"role": "assistant", "content": "x"}], "answer": "y"}
    async with open_service(model=Scripted(lambda _: Denied("no"))) as judge:
        event = {"Records": [{"eventSource": "aws:sqs", "messageId": "1", "body": "{}"}]}
        return [
            await raised(judge.answer([row])),
            await raised(judge.answer([{"messages": 7}])),
            await raised(answer_queue(judge, event, environ=KEYS)),
        ]


@pytest.fixture
def produced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    async def awaited() -> list[str]:
        return [
            *(await credentials(monkeypatch, tmp_path)),
            *(await custom_graders(tmp_path)),
            *(await entry_points()),
        ]

    others = [*bedrock(), *transport(), *flow(), *settings(tmp_path)]
    return [*others, *asyncio.run(awaited())]


def test_every_sentence_on_the_page_is_really_produced(produced: list[str]) -> None:
    never = [row for row in rows() if not any(pattern(row).search(said) for said in produced)]

    assert len(rows()) > 40
    assert not never


def test_every_refusal_of_bedrock_is_on_the_page() -> None:
    on_page = [pattern(row) for row in rows()]
    missing = [said for said in bedrock() if not any(one.search(said) for one in on_page)]

    assert not missing


def test_every_sentence_is_one_printable_line(produced: list[str]) -> None:
    assert [said for said in produced if not said.isprintable()] == []
