"""`/v1/jobs` in one process: accepted completely or not at all, judged once, visible only to its tenant."""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from fastapi import FastAPI
from msgspec.structs import replace

from judge_service.api import create_app
from judge_service.api.access import ANYBODY, new_key
from judge_service.api.errors import HttpError
from judge_service.api.jobs import intake, scheduler
from judge_service.api.jobs import service as service_module
from judge_service.api.jobs.intake import Intake
from judge_service.api.jobs.job_file import JobFile, JobFileError
from judge_service.api.jobs.runner import JobRunner
from judge_service.api.jobs.service import JobService
from judge_service.backends.scripted import Scripted
from judge_service.settings import PackSettings, WireSettings
from tests.api.conftest import Talk, quiet, row, running, talking

LINES = {"content-type": "application/x-ndjson"}


def lines(*rows: Any) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in rows)


def rows(count: int) -> list[dict[str, Any]]:
    return [row(number, response=f"answer {number}") for number in range(count)]


def files(directory: Path, pattern: str = "*.sqlite*") -> list[str]:
    return [path.name for path in directory.glob(pattern)]


def slow() -> Scripted:
    return Scripted(0.5, latency_s=60.0)


class Office:
    """A service with jobs, and what a caller does with it."""

    def __init__(self, talk: Talk, headers: dict[str, str]) -> None:
        self.talk = talk
        self.headers = headers

    async def submit(self, *wanted: Any, query: str = "") -> Any:
        answer = await self.talk.post(
            f"/v1/jobs{query}", lines(*wanted), headers={**LINES, **self.headers}
        )
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def status(self, job_id: str) -> Any:
        answer = await self.talk.get(f"/v1/jobs/{job_id}", headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def until(self, job_id: str, wanted: Callable[[Any], bool]) -> Any:
        async with asyncio.timeout(10):
            while not wanted(status := await self.status(job_id)):  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(0.02)
        return status

    async def ended(self, job_id: str) -> Any:
        return await self.until(job_id, lambda status: status["finished_at"] is not None)

    async def results(self, job_id: str, query: str = "") -> list[Any]:
        answer = await self.talk.get(f"/v1/jobs/{job_id}/results{query}", headers=self.headers)
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]


@asynccontextmanager
async def office(
    directory: Path, judge: Any = None, *, changed: Mapping[str, Any] = {}, **service: Any
) -> AsyncIterator[Office]:
    settings = replace(quiet(jobs_dir=str(directory), **service), **changed)
    made = partial(create_app, settings, environ={}, model=judge or Scripted(0.5))
    app = await asyncio.to_thread(made)  # it reads the keys
    async with talking(app) as talk:
        yield Office(talk, {})


@asynccontextmanager
async def talking_to(url: str) -> AsyncIterator[Office]:
    """The same over a real socket."""
    async with httpx.AsyncClient(base_url=url) as client:
        yield Office(Talk(FastAPI(), client), {})


async def test_a_job_is_judged_and_every_row_has_one_result_in_order(tmp_path: Path) -> None:
    async with office(tmp_path) as jobs:
        job = await jobs.submit(*rows(150))
        status = await jobs.ended(job["id"])
        *rewards, last = await jobs.results(job["id"])

    assert (status["state"], status["done"], status["total"]) == ("done", 150, 150)
    assert [(one["index"], one["id"], one["score"]) for one in rewards] == [
        (number, number, 0.5) for number in range(150)
    ]
    assert last["job"]["state"] == "done"


async def test_the_body_of_rewards_is_a_job_too_with_its_reasons(tmp_path: Path) -> None:
    async with office(tmp_path) as jobs:
        body = {"samples": [row("é\ud800")], "reasons": True}
        answer = await jobs.talk.post("/v1/jobs", json.dumps(body).encode())
        job = answer.json()
        await jobs.ended(job["id"])
        reward, _ = await jobs.results(job["id"])

    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert reward["id"] == "é\ud800"
    assert reward["model"] == "scripted"


async def test_lines_get_reasons_when_the_query_asks_for_them(tmp_path: Path) -> None:
    async with office(tmp_path) as jobs:
        job = await jobs.submit(row(), query="?reasons=true")
        await jobs.ended(job["id"])
        reward, _ = await jobs.results(job["id"])

    assert reward["cached"] is False


async def test_the_judges_reason_is_kept_with_a_jobs_result(tmp_path: Path) -> None:
    rubric = 'name="b"\nreasoning="brief"\n[[criteria]]\nname="quality"\ndescription="How good?"\n'
    judge = Scripted({"reason": "right", "quality": 1})
    async with office(tmp_path, judge, changed={"rubric": rubric}) as jobs:
        job = await jobs.submit(row(), query="?reasons=true")
        await jobs.ended(job["id"])
        reward, _ = await jobs.results(job["id"])

    assert reward["explanation"] == "right"


async def test_rows_that_could_not_be_judged_are_counted_by_reason(tmp_path: Path) -> None:
    async with office(tmp_path, Scripted("no idea")) as jobs:
        job = await jobs.submit(*rows(3))
        status = await jobs.ended(job["id"])

    assert (status["state"], status["unscored"]) == ("done", {"unparseable": 3})


async def test_results_are_read_in_pages(tmp_path: Path) -> None:
    async with office(tmp_path) as jobs:
        job = await jobs.submit(*rows(10))
        await jobs.ended(job["id"])
        *page, _ = await jobs.results(job["id"], "?after=3&limit=4")

    assert [one["index"] for one in page] == [4, 5, 6, 7]


@pytest.mark.parametrize("query", ["after=-2", "after=x", "limit=0", "limit=9" + 20 * "9"])
async def test_a_page_that_cannot_be_is_refused(tmp_path: Path, query: str) -> None:
    async with office(tmp_path) as jobs:
        job = await jobs.submit(row())
        answer = await jobs.talk.get(f"/v1/jobs/{job['id']}/results?{query}")

    assert answer.status_code == 400
    assert answer.json()["error"]["field"] in ("after", "limit")


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (lines(row()) + b"{", 400, "row 1"),
        (lines(row(), 7), 400, "row 1"),
        (lines(row(), row(messages=7)), 400, "row 1.messages"),
        (b"", 400, "no samples"),
        (b" \n\n", 400, "no samples"),
        (lines(*rows(6)), 413, "more than 5 samples"),
        (lines(row(response="x" * 1_000_001)), 413, "row 0"),
        (b"x" * 3_000_000, 413, "longer"),
    ],
)
async def test_a_job_that_cannot_be_taken_whole_is_not_taken(
    tmp_path: Path, body: bytes, status: int, word: str
) -> None:
    async with office(tmp_path, max_job_samples=5, max_job_bytes=2_000_000) as jobs:
        answer = await jobs.talk.post("/v1/jobs", body, headers=LINES)

    assert answer.status_code == status
    assert word in answer.json()["error"]["message"]
    assert not files(tmp_path)


async def test_a_caller_who_leaves_while_sending_leaves_no_job(tmp_path: Path) -> None:
    settings = quiet(jobs_dir=str(tmp_path))
    app = create_app(settings, environ={}, model=Scripted(0.5))
    async with running(app, settings) as service:
        _, writer = await service.connect()
        head = "POST /v1/jobs HTTP/1.1\r\nhost: s\r\ncontent-type: application/x-ndjson\r\n"
        writer.write(f"{head}content-length: 900000\r\n\r\n".encode() + lines(*rows(50)))
        await writer.drain()
        async with asyncio.timeout(5):
            while not files(tmp_path):  # noqa: ASYNC110 - a file on disk
                await asyncio.sleep(0.01)
        writer.close()
        async with asyncio.timeout(5):
            while files(tmp_path):  # noqa: ASYNC110 - a file on disk
                await asyncio.sleep(0.01)

    assert app.state.capacity.statistics().held_bytes == 0


async def test_without_a_directory_there_are_no_jobs(service: Talk) -> None:
    answer = await service.post("/v1/jobs", lines(row()), headers=LINES)

    assert answer.status_code == 404
    assert "service.jobs_dir" in answer.json()["error"]["message"]


@pytest.mark.parametrize("job_id", ["0" * 32, "..", "%2e%2e%2fintake", "x"])
async def test_an_id_that_is_not_there_is_not_found(tmp_path: Path, job_id: str) -> None:
    async with office(tmp_path) as jobs:
        for path in (
            f"/v1/jobs/{job_id}",
            f"/v1/jobs/{job_id}/results",
            f"/v1/jobs/{job_id}/events",
        ):
            assert (await jobs.talk.get(path)).status_code == 404
        assert (await jobs.talk.client.delete(f"/v1/jobs/{job_id}")).status_code == 404


async def test_a_cancelled_job_stops_and_keeps_its_results(tmp_path: Path) -> None:
    answers = iter([0.5] * 5)

    class Stuck(Scripted):
        async def __call__(self, request: Any) -> Any:
            if next(answers, None) is None:
                await asyncio.sleep(60)
            return await super().__call__(request)

    async with office(tmp_path, Stuck(0.5)) as jobs:
        job = await jobs.submit(*rows(40))
        await jobs.until(job["id"], lambda status: status["done"] == 5)
        answer = await jobs.talk.client.delete(f"/v1/jobs/{job['id']}")
        service: JobService = jobs.talk.app.state.jobs
        async with asyncio.timeout(5):
            while "0 runners" not in repr(service):  # noqa: ASYNC110 - seen from outside only
                await asyncio.sleep(0.02)
        *rewards, last = await jobs.results(job["id"])

    assert answer.json()["state"] == last["job"]["state"] == "cancelled"
    assert len(rewards) == 5


async def test_a_finished_job_is_forgotten_when_it_is_deleted(tmp_path: Path) -> None:
    async with office(tmp_path) as jobs:
        job = await jobs.submit(row())
        await jobs.ended(job["id"])
        answer = await jobs.talk.client.delete(f"/v1/jobs/{job['id']}")
        after = await jobs.talk.get(f"/v1/jobs/{job['id']}")

    assert (answer.status_code, after.status_code) == (200, 404)
    assert not files(tmp_path, f"{job['id']}*")


async def test_what_was_acknowledged_before_a_stop_is_not_judged_again(tmp_path: Path) -> None:
    judge = Scripted(0.5, latency_s=0.02)
    async with office(tmp_path, judge) as jobs:
        job = await jobs.submit(*rows(600))
        await jobs.until(job["id"], lambda status: status["done"] > 0)
    again = Scripted(0.5)
    async with office(tmp_path, again) as jobs:
        status = await jobs.ended(job["id"])
        *rewards, _ = await jobs.results(job["id"])

    assert status["state"] == "done"
    assert [one["index"] for one in rewards] == list(range(600))
    assert 0 < len(judge.prompts) < 600
    assert len(judge.prompts) + len(again.prompts) == 600  # a stop finishes what it began


async def test_a_stop_waits_no_longer_than_the_drain_and_the_job_waits_for_the_next_start(
    tmp_path: Path,
) -> None:
    began = asyncio.get_running_loop().time()
    async with office(tmp_path, slow(), drain_s=0.2) as jobs:
        job = await jobs.submit(*rows(5))
        await jobs.until(job["id"], lambda status: status["state"] == "running")
    took_s = asyncio.get_running_loop().time() - began
    async with office(tmp_path) as jobs:
        status = await jobs.ended(job["id"])

    assert took_s < 3
    assert (status["state"], status["done"]) == ("done", 5)


async def test_a_job_is_not_finished_by_another_judge(tmp_path: Path) -> None:
    async with office(tmp_path, slow(), drain_s=0.1) as jobs:
        job = await jobs.submit(*rows(2))
        await jobs.until(job["id"], lambda status: status["state"] == "running")
    async with office(tmp_path, Scripted(0.5, model="another")) as jobs:
        status = await jobs.ended(job["id"])

    assert status["state"] == "failed"
    assert "scripted" in status["detail"]
    assert "another" in status["detail"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"max_reasks": 4}, "another max_reasks 1 (now 4); send the rest again"),
        ({"pack": PackSettings(max_samples=4)}, "another pack.max_samples 1 (now 4)"),
        ({"wire": WireSettings(score_range="-1..1")}, "another wire.score_range 0..1 (now -1..1)"),
    ],
)
async def test_a_job_is_not_finished_under_settings_that_change_a_result(
    tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    remote = {"backend": "openai", "model": "m"}
    async with office(tmp_path, slow(), changed=remote, drain_s=0.1) as jobs:
        job = await jobs.submit(*rows(2))
        await jobs.until(job["id"], lambda status: status["state"] == "running")
    async with office(tmp_path, Scripted(0.5), changed={**remote, **changed}) as jobs:
        status = await jobs.ended(job["id"])

    assert status["state"] == "failed"
    assert told in status["detail"]


async def test_one_of_two_workers_runs_a_job_and_both_answer_about_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "LOOK_S", 0.01)
    first, second = Scripted(0.5, latency_s=0.1), Scripted(0.5, latency_s=0.1)
    async with office(tmp_path, first) as one, office(tmp_path, second) as other:
        job = await one.submit(*rows(300))
        assert (await other.ended(job["id"]))["done"] == 300
        assert len(await one.results(job["id"])) == len(await other.results(job["id"])) == 301

    assert sorted([len(first.prompts), len(second.prompts)]) == [0, 300]


async def test_work_goes_into_the_lane_bulk_under_the_tenants_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    async with office(tmp_path) as jobs:
        judge = jobs.talk.app.state.judge
        stream = judge.stream
        monkeypatch.setattr(judge, "stream", lambda *a, **k: seen.append(k) or stream(*a, **k))
        job = await jobs.submit(row())
        await jobs.ended(job["id"])

    assert [(one["lane"], one["job"]) for one in seen] == [("bulk", "")]


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, dict[str, str], dict[str, str]]:
    """A file of keys, and the headers of two tenants."""
    made = [new_key(tenant, share=0.5) for tenant in ("a", "b")]
    file = tmp_path / "keys.toml"
    file.write_text("\n".join(entry for _, entry in made))
    mine, theirs = ({"x-api-key": key} for key, _ in made)
    return file, mine, theirs


async def test_a_tenant_does_not_see_anothers_job(tmp_path: Path, keys: Any) -> None:
    file, mine, theirs = keys
    async with office(tmp_path / "jobs", slow(), api_keys_file=str(file), drain_s=0.1) as jobs:
        jobs.headers = mine
        job = await jobs.submit(row())
        path = f"/v1/jobs/{job['id']}"
        paths = (path, f"{path}/results", f"{path}/events")
        seen = [(await jobs.talk.get(one, headers=theirs)).status_code for one in paths]
        deleted = await jobs.talk.client.delete(path, headers=theirs)
        status = await jobs.status(job["id"])

    assert [*seen, deleted.status_code] == [404] * 4
    assert status["state"] != "cancelled"


async def test_a_tenant_has_its_share_of_the_jobs_and_another_still_gets_in(
    tmp_path: Path, keys: Any
) -> None:
    file, mine, theirs = keys
    service = {"api_keys_file": str(file), "max_jobs": 3, "drain_s": 0.1}
    async with office(tmp_path / "jobs", slow(), **service) as jobs:
        jobs.headers = mine
        await jobs.submit(row())
        refused = await jobs.talk.post("/v1/jobs", lines(row()), headers={**LINES, **mine})
        jobs.headers = theirs
        await jobs.submit(row())

    assert refused.status_code == 429
    assert refused.headers["retry-after"] == str(intake.COME_BACK_S)


async def test_there_are_no_more_unfinished_jobs_than_allowed(tmp_path: Path) -> None:
    async with office(tmp_path, slow(), max_jobs=2, drain_s=0.1) as jobs:
        await jobs.submit(row())
        await jobs.submit(row())
        refused = await jobs.talk.post("/v1/jobs", lines(row()), headers=LINES)

    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "overloaded"


async def test_no_more_jobs_are_kept_than_ten_times_that(tmp_path: Path) -> None:
    async with office(tmp_path, max_jobs=1) as jobs:
        for _ in range(10):
            await jobs.ended((await jobs.submit(row()))["id"])
        refused = await jobs.talk.post("/v1/jobs", lines(row()), headers=LINES)

    assert refused.status_code == 503
    assert "delete finished ones" in refused.json()["error"]["message"]


async def test_a_finished_job_is_forgotten_after_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "SWEEP_S", 0.0)
    async with office(tmp_path, jobs_kept_s=0.001) as jobs:
        await jobs.submit(row())
        async with asyncio.timeout(5):
            while files(tmp_path):  # noqa: ASYNC110 - a file on disk
                await asyncio.sleep(0.02)

    assert files(tmp_path, "*") == ["intake.lock"]


async def test_while_stopping_no_job_is_taken(tmp_path: Path) -> None:
    async with office(tmp_path) as jobs:
        jobs.talk.app.state.jobs.stop()
        refused = await jobs.talk.post("/v1/jobs", lines(row()), headers=LINES)

    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "draining"


async def test_events_tell_the_progress_and_the_end(tmp_path: Path) -> None:
    settings = quiet(jobs_dir=str(tmp_path))
    app = create_app(settings, environ={}, model=Scripted(0.5, latency_s=0.3))
    async with running(app, settings) as service, talking_to(service.url) as jobs:
        job = await jobs.submit(*rows(3))
        async with jobs.talk.client.stream("GET", f"/v1/jobs/{job['id']}/events") as answer:
            text = [line async for line in answer.aiter_lines()]

    events = [line.removeprefix("event: ") for line in text if line.startswith("event")]
    data = [json.loads(line[6:]) for line in text if line.startswith("data")]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert events[0] == "progress"
    assert events[-1] == "end"
    assert (data[-1]["state"], data[-1]["done"]) == ("done", 3)


async def test_event_streams_do_not_hold_up_a_stop(tmp_path: Path) -> None:
    settings = quiet(jobs_dir=str(tmp_path), drain_s=0.1)
    app = create_app(settings, environ={}, model=slow())
    async with running(app, settings) as service, talking_to(service.url) as jobs:
        job = await jobs.submit(row())
        async with jobs.talk.client.stream("GET", f"/v1/jobs/{job['id']}/events") as answer:
            lines_ = answer.aiter_lines()
            assert await anext(lines_) == "event: progress"
            service.server.should_exit = True
            async with asyncio.timeout(5):
                rest = [line async for line in lines_]

    assert not any(line.startswith("event: end") for line in rest)


async def test_a_stream_of_events_says_why_it_ends_when_the_job_is_forgotten(
    tmp_path: Path,
) -> None:
    settings = quiet(jobs_dir=str(tmp_path), drain_s=0.1)
    app = create_app(settings, environ={}, model=slow())
    async with running(app, settings) as service, talking_to(service.url) as jobs:
        job = await jobs.submit(row())
        path = f"/v1/jobs/{job['id']}"
        async with jobs.talk.client.stream("GET", f"{path}/events") as answer:
            told = answer.aiter_lines()
            await anext(told)
            app.state.jobs.facts = gone
            async with asyncio.timeout(5):
                rest = [line async for line in told]

    assert "event: error" in rest
    assert any("no such job" in line for line in rest)


async def gone(_job_id: str, _tenant: str) -> Any:
    raise HttpError(404, "not_found", "there is no such job")


async def test_there_are_no_more_watchers_than_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "MAX_WATCHERS", 0)
    async with office(tmp_path) as jobs:
        job = await jobs.submit(row())
        answer = await jobs.talk.get(f"/v1/jobs/{job['id']}/events")

    assert answer.status_code == 503
    assert "retry-after" in answer.headers


async def test_a_job_whose_disk_fails_is_tried_again_and_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "FAILED_S", 0.05)
    commit = JobFile.commit
    failures = iter([JobFileError("the disk is full")] * 2)

    def fail_at_first(self: JobFile, results: Any) -> Any:
        if (failure := next(failures, None)) is not None:
            raise failure
        return commit(self, results)

    monkeypatch.setattr(JobFile, "commit", fail_at_first)
    async with office(tmp_path) as jobs:
        submitted = [await jobs.submit(*rows(20)) for _ in range(3)]
        seen = [await jobs.ended(job["id"]) for job in submitted]

    assert [(one["state"], one["done"]) for one in seen] == [("done", 20)] * 3


async def test_a_mistake_of_ours_fails_the_job_and_does_not_go_round_in_circles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(JobRunner, "_result", fail)
    async with office(tmp_path) as jobs:
        status = await jobs.ended((await jobs.submit(row()))["id"])

    assert status["state"] == "failed"
    assert "log" in status["detail"]


async def test_a_disk_that_fails_while_a_job_is_taken_in_is_a_503_and_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise JobFileError("the disk is full")

    async with office(tmp_path) as jobs:
        with monkeypatch.context() as patched:
            patched.setattr(JobFile, "add_rows", fail)
            answer = await jobs.talk.post("/v1/jobs", lines(row()), headers=LINES)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    assert not files(tmp_path)


async def test_a_request_cancelled_at_any_moment_leaves_no_lock_behind(tmp_path: Path) -> None:
    async with office(tmp_path) as jobs:
        service: JobService = jobs.talk.app.state.jobs
        for turns in range(12):
            task = asyncio.create_task(
                service.take(ANYBODY, pieces(), is_lines=True, reasons=False)
            )
            for _ in range(turns):
                await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        taken = {name.removesuffix(".sqlite") for name in files(tmp_path, "*.sqlite")}
        for job_id in taken:
            await jobs.ended(job_id)

    assert {name.partition(".")[0] for name in files(tmp_path, "*.lock")} == {*taken, "intake"}


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(3):
        yield lines(row())
        await asyncio.sleep(0.001)


async def test_a_body_that_comes_too_slowly_is_refused_and_leaves_no_job(tmp_path: Path) -> None:
    settings = quiet(jobs_dir=str(tmp_path), body_timeout_s=0.2)
    app = create_app(settings, environ={}, model=Scripted(0.5))
    async with running(app, settings) as service:
        reader, writer = await service.connect()
        head = "POST /v1/jobs HTTP/1.1\r\nhost: s\r\ncontent-type: application/x-ndjson\r\n"
        writer.write(f"{head}content-length: 900000\r\n\r\n".encode() + lines(row()))
        async with asyncio.timeout(5):
            status = await reader.readline()
        writer.close()

    assert b"408" in status
    assert not files(tmp_path)


async def test_a_request_cancelled_twice_while_the_disk_is_slow_leaves_no_lock_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unhurried = Intake.open

    def slowly(self: Intake) -> None:
        time.sleep(0.05)
        unhurried(self)

    monkeypatch.setattr(Intake, "open", slowly)
    async with office(tmp_path) as jobs:
        service: JobService = jobs.talk.app.state.jobs
        task = asyncio.create_task(service.take(ANYBODY, pieces(), is_lines=True, reasons=False))
        for _ in range(2):
            await asyncio.sleep(0.01)
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        job = await jobs.submit(row())  # behind the other on the one thread
        await jobs.ended(job["id"])

    assert files(tmp_path, "*.sqlite") == [f"{job['id']}.sqlite"]
    assert sorted(files(tmp_path, "*.lock")) == sorted([f"{job['id']}.lock", "intake.lock"])


async def test_a_job_that_cannot_be_opened_does_not_hold_up_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = JobRunner.take
    ids: list[str] = []

    def fail_for_the_first(self: JobRunner) -> bool:
        ids.append(self.id)
        if self.id == ids[0]:
            raise JobFileError("the disk is failing")
        return take(self)

    monkeypatch.setattr(JobRunner, "take", fail_for_the_first)
    async with office(tmp_path) as jobs:
        first = await jobs.submit(row())
        await jobs.until(first["id"], lambda _: bool(ids))
        second = await jobs.submit(row())
        status = await jobs.ended(second["id"])

    assert status["state"] == "done"
    assert ids.count(first["id"]) == 1


async def test_a_job_may_be_larger_than_the_bodies_that_fit_into_memory(tmp_path: Path) -> None:
    async with office(tmp_path, max_held_bytes=600_000, max_body_bytes=2_000) as jobs:
        big = [row(number, response="x" * 900_000) for number in range(2)]
        answer = await jobs.talk.client.post(
            "/v1/jobs", content=in_pieces(lines(*big)), headers=LINES
        )

    assert answer.status_code == 202
    assert jobs.talk.app.state.capacity.statistics().held_bytes == 0


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for first in range(0, len(body), 65_536):
        yield body[first : first + 65_536]


async def test_the_document_shows_what_comes_and_goes(tmp_path: Path) -> None:
    async with office(tmp_path) as jobs:
        document = jobs.talk.app.openapi()
        submitting = document["paths"]["/v1/jobs"]["post"]
        for kind, content in submitting["requestBody"]["content"].items():
            body = content["example"]
            sent = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            answer = await jobs.talk.post("/v1/jobs", sent, headers={"content-type": kind})
            assert answer.status_code == 202
            shown = submitting["responses"]["202"]["content"]["application/json"]
            schema = {**shown["schema"], "components": document["components"]}
            jsonschema.Draft202012Validator(schema).validate(answer.json())
            jsonschema.Draft202012Validator(schema).validate(shown["example"])
            assert answer.json().keys() == shown["example"].keys()


def spoil(path: Path, damage: str) -> None:
    """Runs SQL on a job's file, or fills it with other bytes."""
    if not damage:
        path.write_bytes(b"no database" * 1_000)
        return
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(damage)


@pytest.mark.parametrize(
    "damage",
    [
        """UPDATE facts SET facts = json_set(CAST(facts AS TEXT), '$.state', 'later')""",
        "UPDATE facts SET facts = x'ff7b'",
        "UPDATE facts SET facts = 7",
        "DELETE FROM facts",
        "",  # other bytes
    ],
)
async def test_a_job_that_cannot_be_read_stops_no_other_and_says_so(
    tmp_path: Path, damage: str
) -> None:
    async with office(tmp_path) as jobs:
        bad = (await jobs.submit(row()))["id"]
        await jobs.ended(bad)
    spoil(tmp_path / f"{bad}.sqlite", damage)

    async with office(tmp_path) as jobs:
        for ask in (jobs.talk.get, jobs.talk.client.delete):
            answer = await ask(f"/v1/jobs/{bad}")
            assert answer.status_code == 500, answer.text
            assert "is damaged, or of a later version" in answer.text
        good = await jobs.submit(*rows(3))
        status = await jobs.ended(good["id"])

    assert (status["state"], status["done"]) == ("done", 3)
    assert f"{bad}.sqlite" in files(tmp_path)
