"""Measures 100,000 samples through `JudgeService.stream`: first result, stalls of the loop, memory.

    python loadtest/large_job.py [--samples 100000]

There is one run with a judge that answers at once (the loop is never idle) and one with 50 ms, each in a new
process. A heartbeat every 5 ms measures the loop's delay, and the CPU that the loop's thread used
in the meantime: a stall without CPU is caused by another process. Memory is bounded if never more
than a window of samples is in work, and if it does not grow after a fifth of the job,
when the cache (10,000 judgements by default) is full.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

from measuring import (
    InstantJudge,
    at_most,
    report,
    rss_kb,
    sample,
    say,
    settings_for,
    sizes,
)

from judge_service import Sample, open_service
from judge_service.garbage_collection import settle_garbage_collection

BEAT_S = 0.005
LATENCIES_S = (0.0, 0.05)


def main() -> None:
    options = sizes(__doc__, samples=(100_000, 2_000))
    figures: list[dict[str, Any]] = []
    details: dict[str, Any] = {"samples": options.samples}
    for latency_s in LATENCIES_S:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            seen = fresh.submit(judge_all, options.samples, latency_s).result(timeout=600)
        name = f"judge takes {latency_s * 1000:g} ms"
        say(f"{name}: {seen['evaluations_per_s']:,} evaluations/s")
        figures += [
            at_most(f"{name}: first result", seen["first_result_s"], 1.0, "s"),
            at_most(f"{name}: longest stall of the loop", seen["longest_stall_ms"], 50.0, "ms"),
            at_most(
                f"{name}: samples in memory at once",
                seen["most_at_once"],
                1 + seen["window"] * 9 // 8,  # what `stream` promises
                "samples",
            ),
            at_most(
                f"{name}: most memory over that at a fifth", seen["memory_ratio"], 1.1, "times"
            ),
        ]
        details[f"judge_{latency_s * 1000:g}_ms"] = seen
        print(f"  most CPU between two beats: {seen['most_cpu_ms_between_two_beats']} ms")
        print(f"  memory: {seen['rss_mb']}")
    report("large_job", figures, details, smoke=options.smoke)


def judge_all(samples: int, latency_s: float) -> dict[str, Any]:
    """One job in this process."""
    return asyncio.run(Job(samples, latency_s).run())


class Job:
    """A job with its measurements."""

    def __init__(self, samples: int, latency_s: float) -> None:
        self.samples = samples
        self.latency_s = latency_s
        self.taken = self.given = self.most_at_once = 0
        self.late_s: list[float] = []
        self.busy_s: list[float] = []
        self.rss_kb: list[tuple[int, int]] = []

    async def run(self) -> dict[str, Any]:
        wait = partial(asyncio.sleep, self.latency_s) if self.latency_s else None
        model: Any = InstantJudge(wait)
        async with open_service(settings_for("http://none"), environ={}, model=model) as judge:
            settle_garbage_collection()  # as `judge score` does
            heart = asyncio.create_task(self._beat())
            await asyncio.sleep(20 * BEAT_S)
            self.late_s.clear()
            self.busy_s.clear()
            self._note_rss()
            started_s, first_s = time.perf_counter(), 0.0
            async for _, reward in judge.stream(self._jobs()):
                first_s = first_s or time.perf_counter() - started_s
                self._given(reward.score)
            took_s = time.perf_counter() - started_s
            heart.cancel()
            window = 2 * judge.settings.limits.max_in_flight
        return self._summary(window, took_s, first_s)

    def _jobs(self) -> Iterator[tuple[int, Sample]]:
        for number in range(self.samples):
            self.taken += 1
            self.most_at_once = max(self.most_at_once, self.taken - self.given)
            yield number, sample(number)

    def _given(self, score: float | None) -> None:
        if score is None:
            raise RuntimeError("a sample was not judged; the figures would be wrong")
        self.given += 1
        if self.given % max(1, self.samples // 100) == 0:
            self._note_rss()

    def _note_rss(self) -> None:
        self.rss_kb.append((self.given, rss_kb()))

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s, cpu_s = loop.time() + BEAT_S, time.thread_time()
            await asyncio.sleep(BEAT_S)
            self.late_s.append(loop.time() - due_s)
            self.busy_s.append(time.thread_time() - cpu_s)

    def _summary(self, window: int, took_s: float, first_s: float) -> dict[str, Any]:
        later = [kb for given, kb in self.rss_kb if given >= self.samples / 5]
        late_ms = sorted(1000 * late_s for late_s in self.late_s)
        return {
            "evaluations_per_s": round(self.samples / took_s),
            "first_result_s": round(first_s, 4),
            "longest_stall_ms": round(late_ms[-1], 2),
            "stall_ms_p99": round(late_ms[len(late_ms) * 99 // 100], 2),
            "most_cpu_ms_between_two_beats": round(1000 * max(self.busy_s), 2),
            "heartbeats": len(late_ms),
            "window": window,
            "most_at_once": self.most_at_once,
            "memory_ratio": round(max(later) / later[0], 3),
            "rss_mb": {
                "before": round(self.rss_kb[0][1] / 1024, 1),
                "at_a_fifth": round(later[0] / 1024, 1),
                "highest": round(max(kb for _, kb in self.rss_kb) / 1024, 1),
            },
            "python": sys.version.split()[0],
        }


if __name__ == "__main__":
    main()
