"""The job store: which jobs are kept or deleted, and which worker may run them."""

import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from judge_service.api.access import Caller
from judge_service.api.errors import HttpError
from judge_service.api.jobs.intake import MAX_ROW_BYTES, Bounds, Intake
from judge_service.api.jobs.job_file import Facts, JobFile, JobFileError, NotWhole, Result
from judge_service.api.jobs.store import JobLock, JobStore
from judge_service.errors import SettingsError

NOW = 1_790_000_000.0
LINE = b'{"prompt": "2 + 2?", "response": "4"}\n'


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path, kept_s=60.0)


def put(store: JobStore, **facts: Any) -> str:
    job_id = store.new_id()
    made = Facts(id=job_id, **{"tenant": "", "state": "queued", "created_at": NOW, **facts})
    store.open(job_id, create=made).close()
    return job_id


def done(at: float) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, state="done", finished_at=at)


def test_a_result_that_is_there_stays_and_is_counted_once(store: JobStore) -> None:
    with store.open(put(store, total=2)) as job:
        job.commit([Result(0, None, b"first"), Result(1, "refused", b"second")])
        facts = job.commit([Result(0, None, b"other")])

        assert job.results(-1, 10) == [(0, b"first"), (1, b"second")]
    assert (facts.done, facts.unscored) == (2, {"refused": 1})


def test_rows_without_a_result_are_to_be_done_in_order(store: JobStore) -> None:
    with store.open(put(store)) as job:
        job.add_rows(0, [b"a", b"b", b"c", b"d"])
        job.commit([Result(1, None, b"")])

        assert job.undone(-1, 2) == [(0, b"a"), (2, b"c")]
        assert job.undone(2, 2) == [(3, b"d")]


def test_a_group_that_cannot_be_written_whole_is_not_written(store: JobStore) -> None:
    with store.open(put(store)) as job:
        job.add_rows(0, [b"a"])
        with pytest.raises(JobFileError, match=r"service\.jobs_dir"):
            job.add_rows(0, [b"a", b"b"])

        assert job.undone(-1, 10) == [(0, b"a")]


def test_files_are_for_the_service_alone(store: JobStore, tmp_path: Path) -> None:
    job_id = put(store)
    with store.open(job_id) as job:
        job.add_rows(0, [b"a"])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}

    assert set(modes.values()) == {0o600}
    assert len(modes) == 3  # with the log and its index


def test_looking_for_a_job_makes_no_file(store: JobStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.facts("0" * 32)

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("job_id", ["", "../x", "0" * 31, "0" * 33, "A" * 32, "0" * 32 + "\n"])
def test_what_is_no_id_names_no_file(store: JobStore, job_id: str) -> None:
    with pytest.raises(FileNotFoundError):
        store.open(job_id)


def test_a_job_has_one_holder_until_it_is_released(store: JobStore) -> None:
    job_id = put(store)
    first = store.take(job_id)
    assert first is not None
    assert store.take(job_id) is None
    first.release()
    again = store.take(job_id)

    assert again is not None
    again.release()


def test_what_nobody_receives_any_more_is_swept_and_the_rest_stays(
    store: JobStore, tmp_path: Path
) -> None:
    incomplete, waiting = put(store, state="receiving"), put(store)
    received = put(store, state="receiving")
    (tmp_path / f"{'0' * 32}.sqlite").touch()  # its receiver died before the first write
    lock = store.take(received)
    store.sweep(NOW)
    assert lock is not None
    lock.release()

    with pytest.raises(FileNotFoundError):
        store.facts(incomplete)
    assert {path.stem for path in tmp_path.glob("*.sqlite")} == {waiting, received}


def test_a_job_accepted_while_another_worker_sweeps_stays(
    store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = put(store, state="receiving")
    other = JobStore(tmp_path, kept_s=60.0)
    take = other.take

    def take_late(wanted: str) -> JobLock | None:
        """Its receiver accepts it between the look and the lock."""
        with store.open(wanted) as job:
            job.change(lambda facts: replace(facts, state="queued"))
        return take(wanted)

    monkeypatch.setattr(other, "take", take_late)
    other.sweep(NOW)

    assert store.facts(job_id).state == "queued"


def test_two_workers_that_sweep_at_once_leave_no_lock_behind(
    store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, state="receiving")
    other = JobStore(tmp_path, kept_s=60.0)
    take = other.take

    def take_late(wanted: str) -> JobLock | None:
        store.sweep(NOW)
        return take(wanted)

    monkeypatch.setattr(other, "take", take_late)
    other.sweep(NOW)

    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_read_is_never_swept(store: JobStore, tmp_path: Path) -> None:
    job_id = put(store)
    (tmp_path / f"{job_id}.sqlite").write_bytes(b"no database" * 100)
    store.sweep(NOW + 1e9)

    with pytest.raises(JobFileError):
        store.facts(job_id)
    assert store.waiting() == []


def test_an_empty_file_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    path.touch()

    with JobFile(path) as job, pytest.raises(NotWhole):
        job.facts()


def test_a_finished_job_is_forgotten_after_its_time_and_not_before(store: JobStore) -> None:
    job_id = put(store)
    with store.open(job_id) as job:
        job.change(done(NOW))
    store.sweep(NOW + 59)
    kept = store.facts(job_id).state
    store.sweep(NOW + 60)

    assert kept == "done"
    with pytest.raises(FileNotFoundError):
        store.facts(job_id)


def test_the_oldest_waits_first(store: JobStore) -> None:
    newer, older = put(store, created_at=NOW), put(store, created_at=NOW - 1)

    assert [facts.id for facts in store.waiting()] == [older, newer]


def test_a_directory_that_cannot_be_made_is_named_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SettingsError, match=r"`service\.jobs_dir`: .*file/jobs cannot be created"):
        JobStore(tmp_path / "file" / "jobs", kept_s=1.0)


def test_a_directory_lost_while_receiving_leaves_nothing_open(
    store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    intake = Intake(store, Caller(), Bounds(max_jobs=1, max_samples=9), reasons=False)
    with monkeypatch.context() as patched:
        patched.setattr(JobFile, "_prepare", fail)
        with pytest.raises(sqlite3.OperationalError):
            intake.open()
    intake.close()

    assert [path.name for path in tmp_path.iterdir()] == ["intake.lock"]


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
def test_lines_are_the_same_however_the_body_was_cut(store: JobStore, size: int) -> None:
    body = LINE * 2 + b"\r\n" + LINE.strip()
    intake = Intake(store, Caller(), Bounds(max_jobs=1, max_samples=9), reasons=False)
    intake.open()
    for first in range(0, len(body), size):
        intake.feed(body[first : first + size])
    facts = intake.accept()
    intake.close()

    with store.open(facts.id) as job:
        assert job.undone(-1, 9) == [(number, LINE.strip()) for number in range(3)]
    assert (facts.state, facts.total) == ("queued", 3)


def test_a_line_without_end_is_refused_before_it_is_held_whole(store: JobStore) -> None:
    intake = Intake(store, Caller(), Bounds(max_jobs=1, max_samples=9), reasons=False)
    intake.open()
    intake.feed(b"x" * MAX_ROW_BYTES)
    with pytest.raises(HttpError, match="longer than") as refused:
        intake.feed(b"x")
    intake.close()

    assert refused.value.status == 413
