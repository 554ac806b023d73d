"""A fair queue: lanes by weight, the jobs of a lane fairly, the calls of a job in the order of arrival.

Between lanes it is deficit round robin (Shreedhar, Varghese 1995), which counts quota instead of
calls. The quantum is as small as possible, and rounds in which no lane can send are skipped
in one step. A lane's weight guarantees it a share while it has calls, so the lightest lane gets
at least 1/13 of the quota and no call starves. So ageing is not needed; under a long backlog it would
only cancel the weights.

Between the jobs of a lane it is start-time fair queueing (Goyal, Vin, Cheng 1996): each job's next call has
a start tag, the smallest tag is served first, and a call increases its job's tag by its size. A job that
arrives late starts at the tag being served, so it neither makes up for the past nor waits for a long backlog.

Worked example: lane training has jobs A with calls of size 1 and B with calls of size 3. Both start at tag
0. A is served (its tag becomes 1), then B (3), then A (2), A (3), and now the tags are equal again: three
calls of A for each call of B, so each job gets half of the quota.
"""

from heapq import heapify, heappop, heappush
from itertools import count

from judge_service.flow.admission.permit import Permit
from judge_service.parking import Turn

LANES = {"interactive": 8, "training": 4, "bulk": 1}
"""Weights of the lanes. Any other name counts as `DEFAULT_LANE`."""

DEFAULT_LANE = "training"


def weigh_lane(name: str) -> int:
    """The weight of a lane by its name."""
    return LANES.get(name) or LANES[DEFAULT_LANE]


class Waiter:
    """A call in the queue. `turn` gets its permit.

    size: its cost in the scarcest resource, microseconds of quota.
    """

    __slots__ = ("arrived_at", "costs", "gone", "job", "lane", "size", "turn")

    def __init__(
        self, costs: tuple[int, ...], size: int, arrived_at: float, turn: Turn[Permit]
    ) -> None:
        self.costs = costs
        self.size = size
        self.arrived_at = arrived_at
        self.turn = turn
        self.gone = False
        self.lane: _Lane
        self.job: _Job


class _Job:
    """The calls of one job, a heap by arrival; a call that has left remains in it until it is at the top."""

    __slots__ = ("finish", "name", "present", "size", "waiters")

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiters: list[tuple[float, int, Waiter]] = []
        self.present = 0
        self.size = 0

    def drop_gone(self) -> None:
        if len(self.waiters) > 2 * self.present + 16:
            self.waiters = [entry for entry in self.waiters if not entry[2].gone]
            heapify(self.waiters)
        while self.waiters and self.waiters[0][2].gone:
            heappop(self.waiters)


class _Lane:
    """The jobs of one lane, a heap by start tag.

    An empty job remains until its tag is served, so that it does not get a smaller tag when it returns.
    """

    __slots__ = ("by_start", "deficit", "jobs", "present", "size", "tag", "weight")

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.clear()

    def clear(self) -> None:
        self.by_start: list[tuple[int, int, _Job]] = []
        self.jobs: dict[str, _Job] = {}
        self.present = self.size = self.tag = self.deficit = 0

    def head(self) -> Waiter:
        """The next call of this lane, which must not be empty."""
        while True:
            job = self.by_start[0][2]
            job.drop_gone()
            if job.waiters:
                return job.waiters[0][2]
            heappop(self.by_start)
            del self.jobs[job.name]

    def rounds(self) -> int:
        """The number of rounds until its head can be served."""
        return max(0, -((self.deficit - self.head().size) // self.weight))


class FairQueue:
    """All waiting calls, in the order in which they are served.

    present: number of waiting calls. waiting: the same by lane.
    """

    def __init__(self) -> None:
        self._lanes = {name: _Lane(weight) for name, weight in LANES.items()}
        self._numbers = count()
        self.present = 0

    def __repr__(self) -> str:
        return f"FairQueue({', '.join(f'{name}={n}' for name, n in self.waiting().items())})"

    def waiting(self) -> dict[str, int]:
        """The number of waiting calls, by lane."""
        return {name: lane.present for name, lane in self._lanes.items()}

    def join(self, waiter: Waiter, lane_name: str, job_name: str) -> None:
        """Adds a call at the place of its arrival time; a call that arrived earlier is served earlier."""
        lane = self._lane(lane_name)
        job = lane.jobs.get(job_name)
        if job is None:
            job = lane.jobs[job_name] = _Job(job_name)
            heappush(lane.by_start, (lane.tag, next(self._numbers), job))
        waiter.lane, waiter.job = lane, job
        heappush(job.waiters, (waiter.arrived_at, next(self._numbers), waiter))
        self._count(waiter, 1)

    def leave(self, waiter: Waiter) -> None:
        """Removes a call."""
        waiter.gone = True
        self._count(waiter, -1)
        waiter.job.drop_gone()

    def head(self) -> Waiter:
        """The next call; the queue must not be empty. It remains the next until `pop` or `leave`."""
        lanes = [lane for lane in self._lanes.values() if lane.present]
        if len(lanes) == 1:
            return lanes[0].head()
        rounds = [lane.rounds() for lane in lanes]
        fewest = min(rounds)
        for lane in lanes:
            lane.deficit += fewest * lane.weight
        return lanes[rounds.index(fewest)].head()

    def pop(self, waiter: Waiter) -> None:
        """Removes the head, which is served."""
        lane, job = waiter.lane, waiter.job
        tag, _, _ = heappop(lane.by_start)
        lane.tag = tag
        lane.deficit = max(0, lane.deficit - waiter.size)
        heappush(lane.by_start, (tag + waiter.size, next(self._numbers), job))
        self.leave(waiter)

    def share_ahead(self, lane_name: str, job_name: str, arrived_at: float) -> float:
        """An estimate of the share of waiting calls that are served before a call that joins now, [0, 1]."""
        lane = self._lane(lane_name)
        job = lane.jobs.get(job_name)
        if job is None or not job.present or arrived_at < job.waiters[0][0]:
            return 0.0
        ahead = sum(min(each.size, job.size) for each in lane.jobs.values())
        total = sum(each.size for each in self._lanes.values())
        others = sum(
            min(each.size, ahead * each.weight / lane.weight)
            for each in self._lanes.values()
            if each is not lane
        )
        return min(1.0, (ahead + others) / total) if total else 1.0

    def _lane(self, name: str) -> _Lane:
        return self._lanes.get(name) or self._lanes[DEFAULT_LANE]

    def _count(self, waiter: Waiter, change: int) -> None:
        lane, job = waiter.lane, waiter.job
        self.present += change
        lane.present += change
        job.present += change
        lane.size += change * waiter.size
        job.size += change * waiter.size
        if not lane.present:
            lane.clear()
