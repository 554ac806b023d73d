"""The order of calls in the fair queue, with sizes and without a clock."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.flow.admission.fair_queue import LANES, FairQueue, Waiter


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


class Queue:
    """A line of names."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.line = FairQueue()
        self.loop = loop
        self.names: dict[Waiter, str] = {}
        self.clock = 0.0

    def join(
        self,
        name: str,
        lane: str = "training",
        job: str = "",
        size: int = 10,
        at: float | None = None,
    ) -> Waiter:
        self.clock += 1
        arrived_at = self.clock if at is None else at
        waiter = Waiter((size,), size, arrived_at, self.loop.create_future())
        self.names[waiter] = name
        self.line.join(waiter, lane, job)
        return waiter

    def next(self) -> str:
        waiter = self.line.head()
        assert self.line.head() is waiter  # it stays the next until it goes
        self.line.pop(waiter)
        return self.names[waiter]

    def all(self) -> list[str]:
        return [self.next() for _ in range(self.line.present)]


@pytest.fixture
def queue(loop: asyncio.AbstractEventLoop) -> Queue:
    return Queue(loop)


def test_one_job_goes_in_the_order_of_arrival(queue: Queue) -> None:
    for name in "abc":
        queue.join(name)
    assert repr(queue.line) == "FairQueue(interactive=0, training=3, bulk=0)"
    assert "".join(queue.all()) == "abc"
    assert queue.line.present == 0


def test_another_attempt_goes_before_those_that_came_after_it(queue: Queue) -> None:
    for name in "abc":
        queue.join(name)
    queue.join("retry", at=1.5)
    assert queue.all() == ["a", "retry", "b", "c"]


def test_an_unknown_lane_is_the_training_lane(queue: Queue) -> None:
    queue.join("x", lane="nonsense")
    assert queue.line.waiting() == {"interactive": 0, "training": 1, "bulk": 0}


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_lanes_share_by_their_weights(queue: Queue, size: int) -> None:
    for lane in LANES:
        for _ in range(200):
            queue.join(lane, lane=lane, size=size)
    went = Counter(queue.next() for _ in range(130))
    assert went == pytest.approx({"interactive": 80, "training": 40, "bulk": 10}, abs=2)


def test_lanes_share_what_calls_take_and_not_their_number(queue: Queue) -> None:
    for _ in range(400):
        queue.join("interactive", lane="interactive", size=100)
        queue.join("training", lane="training", size=10)
    went = Counter(queue.next() for _ in range(120))
    assert went["interactive"] * 100 == pytest.approx(2 * went["training"] * 10, rel=0.1)


def test_a_lane_that_was_empty_has_saved_nothing_up(queue: Queue) -> None:
    for _ in range(300):
        queue.join("training")
    for _ in range(100):
        queue.next()
    for _ in range(100):
        queue.join("bulk", lane="bulk")
    assert Counter(queue.next() for _ in range(50))["bulk"] == pytest.approx(10, abs=1)


def test_a_single_interactive_call_does_not_wait_behind_a_backlog(queue: Queue) -> None:
    for _ in range(1000):
        queue.join("bulk", lane="bulk")
    queue.next()
    queue.join("now", lane="interactive")
    assert "now" in [queue.next() for _ in range(2)]


def test_jobs_share_a_lane_however_many_calls_they_have(queue: Queue) -> None:
    for _ in range(1000):
        queue.join("large", job="large")
    for _ in range(3):
        queue.next()
    for _ in range(10):
        queue.join("small", job="small")
    assert [queue.next() for _ in range(20)].count("small") >= 9


def test_a_job_that_asks_for_one_at_a_time_gets_its_share_and_no_more(queue: Queue) -> None:
    for _ in range(100):
        for name in ("a", "b", "c"):
            queue.join(name, job=name)
    went = []
    queue.join("single", job="single")
    for _ in range(100):
        went.append(queue.next())
        if went[-1] == "single":
            queue.join("single", job="single")
    assert went.count("single") == pytest.approx(25, abs=2)


def test_those_that_left_are_passed_over_and_forgotten(queue: Queue) -> None:
    waiters = [queue.join(str(n)) for n in range(1000)]
    for waiter in waiters[1:999]:
        queue.line.leave(waiter)
    assert len(waiters[0].job.waiters) < 30
    assert queue.all() == ["0", "999"]
    assert not any(lane.jobs or lane.by_start for lane in queue.line._lanes.values())


def test_a_call_knows_what_share_of_the_line_is_before_it(queue: Queue) -> None:
    for _ in range(60):
        queue.join("large", job="large")
    for _ in range(10):
        queue.join("small", job="small")
    for _ in range(30):
        queue.join("bulk", lane="bulk")
    share = queue.line.share_ahead
    assert share("training", "large", 1000) == pytest.approx((60 + 10 + 17.5) / 100)
    assert share("training", "small", 1000) == pytest.approx((10 + 10 + 5) / 100)
    assert share("training", "large", 0.5) == share("training", "new", 1000) == 0
    assert share("bulk", "", 1000) == 1


steps = st.lists(
    st.one_of(
        st.tuples(st.just("go")),
        st.tuples(st.just("leave"), st.integers(0, 30)),
        st.tuples(
            st.just("join"),
            st.sampled_from(sorted(LANES)),
            st.sampled_from("ab"),
            st.integers(1, 99),
        ),
    ),
    max_size=80,
)


@given(steps=steps)
def test_whatever_comes_all_go_once_and_a_job_in_order(steps: Sequence[tuple]) -> None:  # type: ignore[type-arg] # drawn
    loop = asyncio.new_event_loop()
    queue, present, went = Queue(loop), [], []
    for number, step in enumerate(steps):
        if step[0] == "join":
            present.append(queue.join(str(number), *step[1:]))
        elif present and step[0] == "leave":
            queue.line.leave(present.pop(step[1] % len(present)))
        elif present:
            waiter = queue.line.head()
            mine = [each for each in present if (each.lane, each.job) == (waiter.lane, waiter.job)]
            assert mine[0] is waiter
            queue.line.pop(waiter)
            present.remove(waiter)
            went.append(waiter)
        assert queue.line.present == len(present)
    assert sorted(queue.all()) == sorted(queue.names[waiter] for waiter in present)
    loop.close()


@given(sizes=st.lists(st.integers(1, 1000), min_size=20, max_size=60))
def test_nobody_starves_while_others_keep_coming(sizes: list[int]) -> None:
    loop = asyncio.new_event_loop()
    queue = Queue(loop)
    queue.join("me", lane="bulk", size=1000)
    passed = 0
    for turn in range(100_000):
        for lane in LANES:
            queue.join(lane, lane=lane, job=str(turn % 7), size=sizes[turn % len(sizes)])
        waiter = queue.line.head()
        queue.line.pop(waiter)
        passed += waiter.size
        if queue.names[waiter] == "me":
            break
    assert passed <= 13 * 1000 + 8 * 1000  # its size at 1/13 of the quota, and what goes with it
    loop.close()
