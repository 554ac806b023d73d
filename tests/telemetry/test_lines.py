import io
import json
import sys
import threading
import time
from typing import Any

import pytest

from judge_service.telemetry.lines import MAX_BUFFERED_BYTES, Lines


class Reader:
    """A pipe whose reader reads when it is told to."""

    def __init__(self) -> None:
        self.reads = threading.Event()
        self.blocks: list[bytes] = []

    def __call__(self, block: bytes) -> None:
        assert self.reads.wait(10)
        self.blocks.append(block)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in b"".join(self.blocks).splitlines()]


async def test_a_reader_that_does_not_read_holds_up_nobody_and_loses_counted_lines() -> None:
    reader = Reader()
    lines = Lines(reader)
    record = {"text": "x" * 1000}
    too_many = MAX_BUFFERED_BYTES // 1000 + 100

    started = time.perf_counter()
    for _ in range(too_many):
        lines.add(record)
    took_s = time.perf_counter() - started

    seen = lines.statistics()
    assert took_s < 1.0
    assert seen.dropped > 0
    assert seen.buffered_bytes <= MAX_BUFFERED_BYTES
    reader.reads.set()
    while not lines.flush(0.1):
        pass
    assert len(reader.lines()) == too_many - seen.dropped + 1
    assert {"level": "WARNING", "message": "lines_dropped", "dropped": seen.dropped} in (
        reader.lines()
    )
    assert lines.statistics().buffered_bytes == 0


def test_a_flush_gives_up_on_a_reader_that_does_not_read() -> None:
    reader = Reader()
    lines = Lines(reader)
    lines.add({"n": 1})

    assert not lines.flush(0.01)

    reader.reads.set()
    assert lines.flush()
    assert reader.lines() == [{"n": 1}]


def test_after_a_flush_everything_is_written_in_order() -> None:
    reader = Reader()
    reader.reads.set()
    lines = Lines(reader)

    for start in range(0, 300, 3):
        for number in range(start, start + 3):
            lines.add({"n": number})
        assert lines.flush()
        assert [line["n"] for line in reader.lines()] == list(range(start + 3))


def test_lines_that_come_together_are_written_together() -> None:
    reader = Reader()
    reader.reads.set()
    lines = Lines(reader)
    for number in range(64):
        lines.add({"n": number})
    lines.flush()

    assert len(reader.lines()) == 64
    assert len(reader.blocks) <= 2


def test_a_reader_that_has_gone_costs_lines_and_not_the_process() -> None:
    broken = [True]

    def write(_block: bytes) -> None:
        if broken[0]:
            raise BrokenPipeError

    lines = Lines(write)
    lines.add({"n": 1})
    assert lines.flush()
    broken[0] = False
    lines.add({"n": 2})
    assert lines.flush()

    assert lines.statistics().dropped == 1
    assert lines.statistics().written == 1


def test_nothing_to_write_is_flushed_at_once_and_without_a_thread() -> None:
    before = threading.active_count()

    assert Lines().flush()

    assert threading.active_count() == before


@pytest.mark.parametrize("binary", [True, False], ids=["a file", "a notebook's cell"])
def test_lines_go_to_whatever_standard_output_is(
    monkeypatch: pytest.MonkeyPatch, *, binary: bool
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "ascii") if binary else io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    lines = Lines()
    lines.add({"n": "é"})
    lines.flush()

    stream.seek(0)
    text = stream.buffer.read().decode() if binary else stream.read()  # type: ignore[attr-defined]
    assert json.loads(text) == {"n": "é"}
