import asyncio
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import pytest

from judge_service.flow.stores import Ask, StoreFailed
from judge_service.flow.stores.file import TIMEOUT_S, FileStore

PER_MINUTE = {"requests": 6000.0}

LEASE_A_LOT = """
import asyncio, json, sys
from judge_service.flow.stores import Ask
from judge_service.flow.stores.file import FileStore

async def lease():
    store, ends_s = FileStore(sys.argv[1], timeout_s=5), []
    for _ in range(100):
        ask = Ask(client=sys.argv[2], per_minute={"requests": 6e6}, want={"requests": 7})
        lease = await store.lease("q", ask)
        ends_s.append(lease.granted["requests"])
    print(json.dumps([sum(ends_s), lease.delay_s]))

asyncio.run(lease())
"""

HOLD_THE_LOCK = """
import fcntl, os, sys, time
file = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(60)
"""


def ask(client: str = "a", want: int = 0, **fields: object) -> Ask:
    wanted = {"requests": want} if want else {}
    return Ask(client=client, per_minute=PER_MINUTE, want=wanted, **fields)  # type: ignore[arg-type]  # table


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def write(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)


def remove(path: str) -> None:
    Path(path).unlink()


def size(path: str) -> int:
    return Path(path).stat().st_size


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "quota")


async def test_two_processes_share_one_line(path: str) -> None:
    first, second = FileStore(path), FileStore(path)

    leases = [
        await store.lease("q", ask(name, want=1000))
        for store, name in ((first, "a"), (second, "b"))
    ]

    assert [lease.granted["requests"] for lease in leases] == [50, 25]
    assert leases[1].delay_s == pytest.approx(0.5, abs=0.1)
    assert leases[1].clients == 2
    await first.aclose()
    await second.aclose()


async def test_quotas_in_one_file_have_lines_of_their_own(path: str) -> None:
    store = FileStore(path)

    delays_s = [(await store.lease(quota, ask(want=1000))).delay_s for quota in ("q", "r")]

    assert delays_s == [0, 0]
    await store.aclose()


def test_no_lease_is_lost_among_processes_that_ask_at_the_same_time(path: str) -> None:
    asking = [
        subprocess.Popen([sys.executable, "-c", LEASE_A_LOT, path, name], stdout=subprocess.PIPE)
        for name in "abcd"
    ]
    said = [json.loads(process.communicate(timeout=60)[0]) for process in asking]

    granted, ahead_s = sum(units for units, _ in said), max(delay_s for _, delay_s in said)
    assert granted == 4 * 100 * 7
    assert ahead_s <= granted / 1e5


@pytest.fixture
def holder(path: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has the lock."""
    Path(path).touch()
    command = [sys.executable, "-c", HOLD_THE_LOCK, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


async def test_a_process_that_is_killed_with_the_lock_stops_nobody(
    path: str, holder: "subprocess.Popen[bytes]"
) -> None:
    store = FileStore(path)
    began_s = time.monotonic()

    with pytest.raises(StoreFailed, match="locked by another process"):
        await store.lease("q", ask(want=1))
    waited_s = time.monotonic() - began_s
    holder.kill()
    holder.wait()

    assert TIMEOUT_S <= waited_s < TIMEOUT_S + 0.5
    assert (await store.lease("q", ask(want=1))).granted == {"requests": 1}
    assert (store.statistics().operations, store.statistics().failures) == (2, 1)
    await store.aclose()


async def test_who_waits_for_the_lock_does_not_block_the_loop(path: str) -> None:
    store, other = FileStore(path), os.open(path, os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)

    leasing = asyncio.create_task(store.lease("q", ask(want=1)))
    await asyncio.sleep(0.02)
    assert not leasing.done()
    fcntl.flock(other, fcntl.LOCK_UN)

    assert (await leasing).granted == {"requests": 1}
    os.close(other)
    await store.aclose()


@pytest.mark.parametrize("content", [b"", b"torn", b"\0" * 4096])
async def test_a_torn_file_is_a_store_that_has_forgotten(path: str, content: bytes) -> None:
    clock = Clock()
    store = FileStore(path, clock=clock)
    lease = await store.lease("q", ask(want=1000))
    clock.now_s += 0.2
    write(path, content)

    told = {"seen": lease.seen, "taken_s": lease.taken_s - 0.2, "clients": 1}
    again = await store.lease("q", ask(want=1000, **told))

    assert again.delay_s == pytest.approx(0.3)
    await store.aclose()


async def test_a_file_that_was_replaced_is_opened_anew(path: str) -> None:
    early = FileStore(path)
    remove(path)
    late = FileStore(path)

    await early.lease("q", ask("a", want=1000))
    lease = await late.lease("q", ask("b", want=1000))

    assert lease.clients == 2
    assert lease.delay_s > 0
    await early.aclose()
    await late.aclose()


async def test_a_line_of_before_a_reboot_is_forgotten(path: str) -> None:
    clock = Clock()
    store = FileStore(path, clock=clock)
    await store.lease("q", ask(want=1000))
    clock.now_s = 3.0

    assert (await store.lease("q", ask(want=1000))).delay_s == 0
    await store.aclose()


async def test_quotas_that_nobody_uses_any_more_leave_the_file(path: str) -> None:
    clock = Clock()
    store = FileStore(path, clock=clock)
    for number in range(50):
        await store.lease(f"q{number}", ask(want=1))
    clock.now_s += 61
    await store.lease("q", ask(want=1))

    assert size(path) < 1000
    await store.aclose()


def test_the_file_is_its_users_alone_and_no_link_is_followed(path: str) -> None:
    FileStore(path)
    assert Path(path).stat().st_mode & 0o777 == 0o600
    link = Path(path + "-link")
    link.symlink_to(path)

    with pytest.raises(OSError, match="symbolic links"):
        FileStore(str(link))


async def test_a_directory_that_is_gone_is_a_store_that_failed(tmp_path: Path) -> None:
    directory = tmp_path / "gone"
    directory.mkdir()
    store = FileStore(str(directory / "quota"))
    rmtree(directory)

    with pytest.raises(StoreFailed, match="gave no lease"):
        await store.lease("q", ask(want=1))
    await store.aclose()


async def test_shows_its_path(path: str) -> None:
    store = FileStore(path)

    assert repr(store) == f"FileStore({path})"
    await store.aclose()
