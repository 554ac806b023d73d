"""Small scripts of calls on the assembled service; one caller is cancelled after any callback of the loop."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import msgspec
from msgspec import Struct

from judge_service.assembly import stacks
from judge_service.backends.scripted import Scripted
from judge_service.errors import CallError
from judge_service.flow import Request
from judge_service.flow.admission.gate import Gate
from judge_service.flow.coalesce import Coalesce
from judge_service.service import JudgeService, Lane, open_service
from judge_service.settings import Settings
from judge_service.testing import START_S
from judge_service.values import Completion, Prompt, Reward, Sample, Usage

USAGE = Usage(input_tokens=40, output_tokens=2, calls=1)
TOKENS = USAGE.input_tokens + USAGE.output_tokens
WARM_UP_CALLS = 30


class Attempt(Struct, frozen=True):
    """What one call does: connects, then answers or fails. An error's `charged` says whether it costs."""

    takes_s: float = 0.2
    error: CallError | None = None
    connects_s: float = 0.05


class Call(Struct, frozen=True):
    """One call of `score`. texts: of its samples."""

    texts: tuple[str, ...]
    begins_s: float = 0.0
    lane: Lane = "training"
    deadline_s: float = 600.0


class Script(Struct, frozen=True):
    """victim: the caller that is cancelled. passes: coroutines in which its work waits in the course of it.

    attempts: at each target what the calls about a text do, one after the other; the last one is repeated.
    is_warm: so many quick calls come before it that latencies are known. joins: calls that share a flight.
    is_asked_again: the victim's question is asked by another caller in the moment of the cancellation.
    """

    name: str
    passes: frozenset[str]
    victim: Call
    others: tuple[Call, ...] = ()
    settings: Mapping[str, Any] = {}
    attempts: tuple[Mapping[str, Sequence[Attempt]], ...] = ({},)
    is_warm: bool = False
    joins: int = 0
    is_asked_again: bool = False


class Judge(Scripted):
    """Does what the script says, and counts what its calls cost."""

    def __init__(self, attempts: Mapping[str, Sequence[Attempt]], name: str) -> None:
        super().__init__(0.5, model=name)
        self._left = {text: list(each) for text, each in attempts.items()}
        self.sent: list[str] = []
        self.on_wire: set[asyncio.Task[Any] | None] = set()
        self.cost: dict[str, int] = defaultdict(int)
        self._reserved: dict[int, dict[str, int]] = {}

    def watch(self, gate: Gate[Any, Any]) -> None:
        """Learns what the gate reserves for each prompt."""
        reserve = gate._reserve

        def noted(prompt: Prompt) -> tuple[int, ...]:
            costs = reserve(prompt)
            self._reserved[id(prompt)] = dict(zip(gate._limits, costs, strict=True))
            return costs

        gate._reserve = noted

    async def __call__(self, request: Request[Prompt]) -> Completion:
        text = request.body.question.response or ""
        attempt = self._next_of(text)
        if attempt.connects_s:
            await asyncio.sleep(attempt.connects_s)
        request.sent_at = asyncio.get_running_loop().time()
        self.sent.append(text)
        self.on_wire.add(asyncio.current_task())
        try:
            await asyncio.sleep(attempt.takes_s)
        finally:
            self.on_wire.discard(asyncio.current_task())
        self._charge(self._reserved.get(id(request.body), {}), attempt.error)
        if attempt.error is not None:
            raise attempt.error
        return msgspec.structs.replace(self._completion(request.body, 0.5), usage=USAGE)

    def _next_of(self, text: str) -> Attempt:
        left = self._left.get(text, [Attempt(takes_s=0.1, connects_s=0.0)])
        return left.pop(0) if len(left) > 1 else left[0]

    def _charge(self, reserved: Mapping[str, int], error: CallError | None) -> None:
        for resource, units in reserved.items():
            if error is None:
                self.cost[resource] += units if resource == "requests" else TOKENS
            elif error.charged or error.throttled:
                self.cost[resource] += units


class Outcome(Struct):
    """callbacks: of the loop in the victim's life. took_s: from its cancellation to its end.

    places: coroutines that waited at the moment of the cancellation. idle: moments in which time went on
    while a call waited that could have gone. joined: calls that shared a flight. sent_after: calls that
    only the victim wanted, sent after its end. held_after: tasks without a call on the wire that outlived it.
    """

    callbacks: int
    was_cancelled: bool
    took_s: float
    places: set[str]
    idle: list[float]
    joined: int
    sent_after: int
    held_after: int
    others: list[list[Reward]]
    judges: list[Judge]
    gates: list[Gate[Any, Any]]
    flights_left: int
    tasks_left: list[str]
    timers_left: int


class Observer:
    """Sees every callback of the loop: cancels the victim after one of them, and looks for idle gates."""

    def __init__(
        self, script: Script, service: JudgeService, judges: list[Judge], cancel_after: int | None
    ) -> None:
        self._script = script
        self._service = service
        self.again: list[asyncio.Task[list[Reward]]] = []
        wanted = {text for call in script.others for text in call.texts}
        self._texts = set(script.victim.texts) - wanted
        self._detached = service._assembly.detached
        self._judges = judges
        self._cancel_after = cancel_after
        self._victim: asyncio.Task[Any] | None = None
        self._now_s = START_S
        self._sent_before = 0
        self.gates = [target.gate for target in service._assembly.targets]
        self.callbacks = self.held_after = 0
        self.cancelled_s = self.ended_s = 0.0
        self.places: set[str] = set()
        self.idle: list[float] = []

    def begin(self, victim: asyncio.Task[Any]) -> None:
        self._victim = victim
        self.look()

    def look(self) -> None:
        """Called between two callbacks."""
        if self._victim is None:
            return
        if self._victim.done():
            self.ended_s = asyncio.get_running_loop().time()
            on_wire = {task for judge in self._judges for task in judge.on_wire}
            abandoned = {task for task in self._detached._abandoned if not task.done()}
            self.held_after = len(abandoned - on_wire)
            self._sent_before = self._sent()
            self._victim = None
            return
        if self.callbacks == self._cancel_after:
            self.cancelled_s = asyncio.get_running_loop().time()
            self.places = set(_places())
            self._victim.cancel()
            if self._script.is_asked_again:
                again = msgspec.structs.replace(self._script.victim, begins_s=0.0, deadline_s=100.0)
                self.again = [asyncio.create_task(score(self._service, again))]
        self.callbacks += 1

    def pass_time(self, now_s: float) -> None:
        """Called before each callback."""
        if now_s > self._now_s and any(could_go(gate, self._now_s) for gate in self.gates):
            self.idle.append(self._now_s - START_S)
        self._now_s = now_s

    def sent_after(self) -> int:
        return 0 if self.again else self._sent() - self._sent_before

    def _sent(self) -> int:
        return sum(text in self._texts for judge in self._judges for text in judge.sent)


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Callbacks are the finest steps there are: two cancellations between the same two of them are alike."""
    run = asyncio.Handle._run

    def watched(handle: asyncio.Handle) -> None:
        observer.pass_time(handle._loop.time())  # type: ignore[attr-defined] # private
        run(handle)
        observer.look()

    with mock.patch.object(asyncio.Handle, "_run", watched):
        yield


def could_go(gate: Gate[Any, Any], now_s: float) -> bool:
    """Whether a call waits that may go: no call waits for something that is there."""
    if not gate._queue.present or gate._breaker.state != "closed":
        return False
    head = gate._queue.head()
    ready_s = max(gate._throttle.next_at_s, gate._buckets.ready_at_s(head.costs, gate._nothing))
    return gate._slots.is_free(now_s) and ready_s <= now_s


def _places() -> Iterator[str]:
    """The coroutines of all tasks that wait."""
    for task in asyncio.all_tasks():
        coroutine: Any = task.get_coro()
        while coroutine is not None and hasattr(coroutine, "cr_code"):
            yield coroutine.cr_code.co_qualname
            coroutine = coroutine.cr_await


async def play(script: Script, cancel_after: int | None) -> Outcome:
    """Runs a script to its end; the victim is cancelled after so many callbacks, or never."""
    random.seed(0)  # the jitter of the service's own waits
    judges = [Judge(each, f"judge {place}") for place, each in enumerate(script.attempts)]
    settings = msgspec.convert({"backend": "bedrock", "model": "m", **script.settings}, Settings)
    with mock.patch.object(stacks, "open_backend", side_effect=judges):
        async with open_service(settings, environ={}) as service:
            observer = Observer(script, service, judges, cancel_after)
            for judge, gate in zip(judges, observer.gates, strict=True):
                judge.watch(gate)
            return await _play(script, service, judges, observer)


async def _play(
    script: Script, service: JudgeService, judges: list[Judge], observer: Observer
) -> Outcome:
    if script.is_warm:
        texts = tuple(f"warm {number}" for number in range(WARM_UP_CALLS))
        await score(service, Call(texts))
        await asyncio.sleep(60)
    tasks_before, timers_before = asyncio.all_tasks(), timers()
    with observed(observer):
        others = [asyncio.create_task(score(service, call)) for call in script.others]
        await asyncio.sleep(script.victim.begins_s)
        victim = asyncio.create_task(score(service, script.victim))
        observer.begin(victim)
        await asyncio.wait([victim, *others])
        others += observer.again
        await asyncio.wait(others)
        while service._assembly.detached.statistics().abandoned:  # noqa: ASYNC110 - nothing tells the end
            await asyncio.sleep(0.01)
    await asyncio.sleep(0)
    return Outcome(
        callbacks=observer.callbacks,
        was_cancelled=victim.cancelled(),
        took_s=observer.ended_s - observer.cancelled_s,
        places=observer.places,
        idle=observer.idle,
        joined=sum(layer.statistics().joined for layer in _coalesces(service)),
        sent_after=observer.sent_after(),
        held_after=observer.held_after,
        others=[task.result() for task in others],
        judges=judges,
        gates=observer.gates,
        flights_left=sum(
            layer.statistics().flights + layer.statistics().waiting for layer in _coalesces(service)
        ),
        tasks_left=[repr(task) for task in asyncio.all_tasks() - tasks_before],
        timers_left=timers() - timers_before,
    )


async def score(service: JudgeService, call: Call) -> list[Reward]:
    if call.begins_s:
        await asyncio.sleep(call.begins_s)
    samples = [Sample(id=text, response=text, reference="gold") for text in call.texts]
    return await service.score(samples, deadline_s=call.deadline_s, lane=call.lane)


def _coalesces(service: JudgeService) -> list[Coalesce[Any, Any]]:
    return [layer for layer in service._assembly.per_prompt if isinstance(layer, Coalesce)]


def timers() -> int:
    """Timers that are set."""
    scheduled: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined] # private
    return sum(not timer.cancelled() for timer in scheduled)
