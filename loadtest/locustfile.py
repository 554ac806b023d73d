"""Callers for locust: single samples, batches of 64, ranking.

    locust -f loadtest/locustfile.py --host http://127.0.0.1:8080 [--shape ramp] [Single] [Batch] [Rank]

`make load` runs it with the simulator and prints a table; `make load-ui` opens locust's page.
A reply counts as failed if a sample is missing, out of order, or was not judged.
"""

import itertools
import os
from typing import Any

from locust import FastHttpUser, LoadTestShape, events, task
from locust.argument_parser import LocustArgumentParser
from rows import BATCH, row
from shapes import SHAPES

RANKED = 4
NUMBERS = itertools.count(int.from_bytes(os.urandom(5)) << 20)
"""Numbers of samples, different in every process, so that no cache answers."""


@events.init_command_line_parser.add_listener
def add_arguments(parser: LocustArgumentParser) -> None:
    parser.add_argument(
        "--shape",
        choices=sorted(SHAPES),
        default="steady",
        help="number of users over time: constant, in steps, or four times as many for a while",
    )


class Caller(FastHttpUser):
    """A caller that sends the next request after each reply. size: samples of a request."""

    abstract = True
    network_timeout = 70.0
    size = 1

    def ask(self, path: str, body: dict[str, Any], ids: list[Any]) -> None:
        """Sends a request, whose reply must have a score for every id, in order."""
        name = f"{type(self).__name__.lower()} ({self.size})"
        with self.client.post(path, json=body, name=name, catch_response=True) as reply:
            if reply.status_code != 200:
                reply.failure(f"status {reply.status_code}")
                return
            rewards = reply.json()["rewards"]
            if [reward["id"] for reward in rewards] != ids:
                reply.failure("not one reward for each sample, in order")
            elif any(reward["score"] is None for reward in rewards):
                reply.failure("a sample was not judged")


class Single(Caller):
    """One sample a request, as HyperPod sends them."""

    @task
    def judge(self) -> None:
        number = next(NUMBERS)
        self.ask("/v1/rewards", {"samples": [row(number)]}, [number])


class Batch(Caller):
    """A batch of rollouts a request, as most trainers send them."""

    size = BATCH

    @task
    def judge(self) -> None:
        numbers = list(itertools.islice(NUMBERS, BATCH))
        self.ask("/v1/rewards", {"samples": [row(number) for number in numbers]}, numbers)


class Rank(Caller):
    """Several responses to one prompt, which are ranked."""

    size = RANKED

    @task
    def judge(self) -> None:
        numbers = list(itertools.islice(NUMBERS, RANKED))
        asked = {name: row(numbers[0])[name] for name in ("prompt", "reference")}
        rows = [{**row(number), **asked} for number in numbers]
        self.ask("/v1/rank", {"samples": rows}, numbers)


class Shape(LoadTestShape):
    """The requested shape, over `--run-time` seconds (five minutes by default)."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        if self.runner is None:
            return None
        options = self.runner.environment.parsed_options
        share = self.get_run_time() / (options.run_time or 300)
        if share >= 1:
            return None
        users = max(1, round((options.num_users or 1) * SHAPES[options.shape](share)))
        return users, max(100.0, options.spawn_rate or 0)
