"""Jobs through outages of the judge: they wait, say so, lose no row, and unscored rows can be put back."""

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from msgspec.structs import replace

from judge_service.api.access import ANYBODY
from judge_service.api.jobs import result_writer, scheduler, service
from judge_service.api.jobs.job_file import Facts, Result
from judge_service.api.jobs.progress import event_of
from judge_service.api.jobs.service import JobService, open_job_service
from judge_service.api.jobs.store import JobStore
from judge_service.api.openapi import examples_jobs
from judge_service.backends.scripted import Scripted
from judge_service.errors import QuotaExhausted, Unavailable
from judge_service.service import open_service
from judge_service.settings import ServiceSettings
from judge_service.testing import InlineThreads, run_virtual
from tests.api.conftest import row
from tests.api.jobs.test_jobs import keys, lines, office, rows  # noqa: F401 - a fixture
from tests.test_service_outage import SETTINGS, Judge, down

ROWS = 500


class Bench:
    """The jobs of one worker in virtual time."""

    def __init__(self, jobs: JobService, job_id: str) -> None:
        self.jobs = jobs
        self.job_id = job_id

    async def facts(self) -> Facts:
        return await self.jobs.facts(self.job_id, "")

    async def until(self, *states: str) -> Facts:
        while (facts := await self.facts()).state not in states:  # noqa: ASYNC110 - on disk
            await asyncio.sleep(0.5 if facts.state == "running" else 5)
        return facts

    async def reasons(self) -> Counter[str | None]:
        text = b"\n".join([piece async for piece in self.jobs.results(self.job_id, -1, 10**6)])
        return Counter(json.loads(line)["reason"] for line in text.splitlines())


@pytest.fixture
def virtual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a scenario with a job of `count` rows."""
    monkeypatch.setattr(service, "ThreadPoolExecutor", InlineThreads)
    monkeypatch.setattr(scheduler, "LOOK_S", 30.0)  # virtual time flies, and the disk does not
    monkeypatch.setattr(result_writer, "COMMIT_EVERY_S", 0.5)

    def run(judge: Judge, scenario: Any, count: int = ROWS, **options: Any) -> Any:
        service_settings = ServiceSettings(jobs_dir=str(tmp_path), **options)
        settings = replace(SETTINGS, service=service_settings)

        job_id = next((path.stem for path in tmp_path.glob("*.sqlite")), "")

        async def opened() -> Any:
            asyncio.get_running_loop().set_default_executor(InlineThreads())
            async with (
                open_service(settings, environ={}, model=judge) as one,
                open_job_service(one, lambda _: None) as jobs,
            ):
                assert jobs is not None
                taken = job_id or await take(jobs, count)
                return await scenario(Bench(jobs, taken))

        return run_virtual(opened())

    return run


async def take(jobs: JobService, count: int) -> str:
    async def pieces() -> Any:
        yield lines(*rows(count))

    return (await jobs.take(ANYBODY, pieces(), is_lines=True, reasons=False)).id


@pytest.mark.parametrize(
    ("lasts_s", "error"),
    [(300, Unavailable), (86_400, QuotaExhausted)],
    ids=["five minutes", "a day"],
)
def test_an_outage_leaves_no_row_of_a_job_unjudged(
    virtual: Any, monkeypatch: pytest.MonkeyPatch, lasts_s: float, error: type[Exception]
) -> None:
    monkeypatch.setattr(scheduler, "LOOK_S", lasts_s / 10)

    async def scenario(bench: Bench) -> Any:
        await asyncio.sleep(lasts_s)
        return await bench.until("done"), await bench.reasons()

    facts, reasons = virtual(Judge(down(3, 3 + lasts_s, error)), scenario)

    assert (facts.done, facts.unscored) == (ROWS, {})
    assert reasons == {None: ROWS}


def test_a_job_that_waits_says_why_and_until_when_and_then_goes_on(virtual: Any) -> None:
    async def scenario(bench: Bench) -> Any:
        waits = await bench.until("waiting")
        await asyncio.sleep(120)
        later = await bench.facts()
        return waits, later, await bench.until("running", "done")

    began = time.time()
    waits, later, after = virtual(Judge(down(1, 301)), scenario)

    assert (waits.reason, later.reason) == ("unavailable", "unavailable")
    assert waits.detail
    assert began <= waits.until <= time.time() + 60  # of the wall, whose time hardly passes here
    assert later.until >= waits.until
    assert (after.reason, after.until, after.detail) == ("", 0.0, "")
    assert b'"state":"waiting"' in event_of(waits)
    shown = json.loads(event_of(waits).split(b"data: ")[1])
    assert (shown["reason"], shown["until"]) == ("unavailable", waits.until)
    assert (shown["per_s"], shown["eta_s"]) == (None, None)


def test_a_job_that_goes_on_counts_its_rate_from_then(virtual: Any) -> None:
    async def scenario(bench: Bench) -> Any:
        await bench.until("waiting")
        return await bench.until("running")

    after = virtual(Judge(down(1, 301)), scenario)

    assert 0 < after.done_before <= after.done


def test_a_job_that_waits_is_cancelled_at_once(virtual: Any) -> None:
    async def scenario(bench: Bench) -> Any:
        await bench.until("waiting")
        began = asyncio.get_running_loop().time()
        await bench.jobs.end(bench.job_id, "")
        while "0 runners" not in repr(bench.jobs):  # noqa: ASYNC110 - seen from outside only
            await asyncio.sleep(0.1)
        return asyncio.get_running_loop().time() - began, await bench.facts()

    took_s, facts = virtual(Judge(down(1, 1e9)), scenario)

    assert took_s < 1.0
    assert (facts.state, facts.unscored, facts.reason, facts.until) == ("cancelled", {}, "", 0.0)


@pytest.mark.parametrize("asleep_s", [0.0, 30.0, 75.0])
def test_a_stop_ends_a_job_that_waits_at_once_and_the_next_start_judges_the_rest(
    virtual: Any, asleep_s: float
) -> None:
    async def stop(bench: Bench) -> Any:
        await bench.until("waiting")
        await asyncio.sleep(asleep_s)
        began = asyncio.get_running_loop().time()
        await bench.jobs.aclose()
        return asyncio.get_running_loop().time() - began

    async def go_on(bench: Bench) -> Any:
        queued = await bench.facts()
        return queued, await bench.until("done"), await bench.reasons()

    took_s = virtual(Judge(down(1, 1e9)), stop, drain_s=20.0)
    again = Judge(lambda *_: None)
    queued, facts, reasons = virtual(again, go_on)

    assert took_s < 1.0
    assert (queued.state, queued.reason, queued.until) == ("queued", "", 0.0)
    assert (facts.done, reasons) == (ROWS, {None: ROWS})
    assert again.asked < ROWS, "what was judged before the outage is judged again"


def test_an_outage_that_begins_while_a_worker_drains_does_not_keep_it(virtual: Any) -> None:
    async def scenario(bench: Bench) -> Any:
        await asyncio.sleep(1.05)
        began = asyncio.get_running_loop().time()
        await bench.jobs.aclose()
        return asyncio.get_running_loop().time() - began

    assert virtual(Judge(down(1, 1e9, QuotaExhausted)), scenario, drain_s=20.0) < 5


def unscored_at(*bad: int) -> Scripted:
    """A judge whose answer about these rows cannot be used."""
    return Scripted(
        lambda prompt: "?" if prompt.question.response in {f"answer {n}" for n in bad} else "0.5"
    )


async def test_retry_judges_again_what_has_no_score_and_nothing_else(tmp_path: Path) -> None:
    async with office(tmp_path, unscored_at(2, 5)) as jobs:
        job = await jobs.submit(*rows(8))
        before = await jobs.ended(job["id"])
    judge = Scripted(0.25)
    async with office(tmp_path, judge) as jobs:
        answer = await jobs.talk.client.post(f"/v1/jobs/{job['id']}/retry")
        after = await jobs.ended(job["id"])
        *rewards, _ = await jobs.results(job["id"])

    assert before["unscored"] == {"unparseable": 2}
    put_back = answer.json()
    assert answer.status_code == 202
    assert (put_back["state"], put_back["done"], put_back["unscored"]) == ("queued", 6, {})
    assert put_back["finished_at"] is None
    assert (after["state"], after["done"], after["unscored"]) == ("done", 8, {})
    assert [one["index"] for one in rewards] == list(range(8))
    assert [one["score"] for one in rewards] == [0.5, 0.5, 0.25, 0.5, 0.5, 0.25, 0.5, 0.5]
    assert len(judge.prompts) == 2


async def test_retry_of_a_job_with_all_scores_changes_nothing(tmp_path: Path) -> None:
    async with office(tmp_path) as jobs:
        job = await jobs.submit(*rows(3))
        before = await jobs.ended(job["id"])
        answer = await jobs.talk.client.post(f"/v1/jobs/{job['id']}/retry")
        after = await jobs.status(job["id"])

    assert answer.status_code == 202
    assert before == answer.json() == after


async def test_retry_goes_on_with_a_job_that_was_cancelled(tmp_path: Path) -> None:
    async with office(tmp_path, Scripted(0.5, latency_s=60.0), drain_s=0.1) as jobs:
        job = await jobs.submit(*rows(3))
        await jobs.talk.client.delete(f"/v1/jobs/{job['id']}")
    async with office(tmp_path) as jobs:
        answer = await jobs.talk.client.post(f"/v1/jobs/{job['id']}/retry")
        after = await jobs.ended(job["id"])

    assert answer.json()["state"] == "queued"
    assert (after["state"], after["done"]) == ("done", 3)


async def test_a_job_at_work_cannot_be_retried(tmp_path: Path) -> None:
    async with office(tmp_path, Scripted(0.5, latency_s=60.0), drain_s=0.1) as jobs:
        job = await jobs.submit(row())
        answer = await jobs.talk.client.post(f"/v1/jobs/{job['id']}/retry")

    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "not_ended"


async def test_a_retry_counts_as_a_job_at_work(tmp_path: Path) -> None:
    def answer(prompt: Any) -> str | Exception:
        return "?" if prompt.question.response == "bad" else "0.5"

    class SlowWithOthers(Scripted):
        async def __call__(self, request: Any) -> Any:
            if request.body.question.response != "bad":
                await asyncio.sleep(60)
            return await super().__call__(request)

    async with office(tmp_path, SlowWithOthers(answer), max_jobs=1, drain_s=0.1) as jobs:
        job = await jobs.submit(row(response="bad"))
        await jobs.ended(job["id"])
        await jobs.submit(row(response="good"))
        refused = await jobs.talk.client.post(f"/v1/jobs/{job['id']}/retry")
        after = await jobs.status(job["id"])

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert after["unscored"] == {"unparseable": 1}


async def test_another_tenant_cannot_retry_a_job(tmp_path: Path, keys: Any) -> None:  # noqa: F811 - a fixture of another test module
    file, mine, theirs = keys
    async with office(tmp_path / "jobs", unscored_at(0), api_keys_file=str(file)) as jobs:
        jobs.headers = mine
        job = await jobs.submit(row(response="answer 0"))
        await jobs.ended(job["id"])
        path = f"/v1/jobs/{job['id']}/retry"
        answers = [await jobs.talk.client.post(path, headers=one) for one in (theirs, mine)]

    assert [answer.status_code for answer in answers] == [404, 202]


async def test_a_job_that_is_not_there_cannot_be_retried(tmp_path: Path) -> None:
    async with office(tmp_path) as jobs:
        answer = await jobs.talk.client.post(f"/v1/jobs/{'0' * 32}/retry")

    assert answer.status_code == 404


async def test_a_worker_that_saw_a_job_end_sees_that_another_put_it_back(tmp_path: Path) -> None:
    def scenario() -> list[str]:
        first, second = (JobStore(tmp_path, kept_s=1000.0) for _ in range(2))
        facts = Facts(id=first.new_id(), tenant="", state="done", total=1)
        with first.open(facts.id, create=facts) as job:
            job.add_rows(0, [b"{}"])
            job.commit([Result(0, "unavailable", b'{"score":null}')])
        assert second.waiting() == []
        with first.open(facts.id) as job:
            job.forget_unscored(service._put_back)
        first.touch(facts.id)
        return [one.id for one in second.waiting()]

    assert len(await asyncio.to_thread(scenario)) == 1


async def test_the_document_shows_a_job_that_waits_and_one_that_was_put_back(
    tmp_path: Path,
) -> None:
    async with office(tmp_path, unscored_at(0)) as jobs:
        document = jobs.talk.app.openapi()
        job = await jobs.submit(row(response="answer 0"))
        await jobs.ended(job["id"])
        answer = await jobs.talk.client.post(f"/v1/jobs/{job['id']}/retry")
    shown = document["paths"]["/v1/jobs/{job_id}/retry"]["post"]["responses"]
    content = shown["202"]["content"]["application/json"]
    schema = jsonschema.Draft202012Validator(
        {**content["schema"], "components": document["components"]}
    )
    for one in (content["example"], examples_jobs.WAITING, answer.json()):
        schema.validate(one)
    assert {"404", "409", "429"} <= shown.keys()
