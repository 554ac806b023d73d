"""Grades several samples in one judge call (a pack)."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec
from msgspec import Struct

from judge_service.errors import CallError
from judge_service.flow import Request
from judge_service.grading.grader import Grader
from judge_service.grading.groups.pack_parse import parse_pack
from judge_service.grading.groups.pack_prompt import PackWriter
from judge_service.grading.prompting.fence import name_texts
from judge_service.grading.prompting.prompt import digest_question
from judge_service.grading.rewards import Spent, channel_of
from judge_service.values import NO_USAGE, Question, Reward, Sample, Usage, Verdict


class PackStatistics(Struct, frozen=True, kw_only=True):
    """Counts since the pack was made.

    calls: packs sent to the judge. packed: samples that got their verdict from a pack.
    reasked: samples sent alone because their pack's answer had no usable verdict for them.
    alone: samples that were never in a pack: too large, no judge needed, or no other sample came.
    waiting: samples in packs now, which are open or in flight.
    """

    calls: int
    packed: int
    reasked: int
    alone: int
    waiting: int


class _Item(Struct, frozen=True):
    """A sample of a pack. Samples with the same question have the same digest."""

    digest: bytes
    question: Question
    tokens: int


class _Answer(Struct, frozen=True):
    """The result of a pack: verdicts by digest, and the cost of the call."""

    verdicts: Mapping[bytes, Verdict]
    usage: Usage = NO_USAGE
    model: str = ""
    cached: bool = False
    channel: str = ""


NO_ANSWER = _Answer({})

ALONE_AFTER = frozenset({"denied", "refused", "too_long"})
"""Reasons of a failed pack after which its samples are judged alone: one text or the size may cause them."""

_Key = tuple[str, str, int]
"""Lane, job and draw, which are the same for all samples of a pack."""


class _Load:
    """The samples of one pack, with a future for each of their callers.

    request: that of the first sample, whose deadline, lane and job are the pack's.
    waiters: the digest that each caller waits for, in order of arrival; a future's result is the caller's
        share of the cost.
    """

    __slots__ = ("answer", "error", "items", "request", "task", "timer", "waiters")

    def __init__(self, request: Request[Sample]) -> None:
        self.request = request
        self.items: dict[bytes, _Item] = {}
        self.waiters: dict[asyncio.Future[Spent], bytes] = {}
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[_Answer] | None = None
        self.answer = NO_ANSWER
        self.error: BaseException | None = None

    def has_room(self, item: _Item, max_tokens: int) -> bool:
        tokens = sum(other.tokens for other in self.items.values())
        return item.digest in self.items or tokens + item.tokens <= max_tokens

    def drop(self, waiter: asyncio.Future[Spent]) -> None:
        """Removes a caller that has gone, and its sample if no other caller waits for it."""
        digest = self.waiters.pop(waiter)
        if self.task is None and digest not in self.waiters.values():
            del self.items[digest]

    def land(self, task: asyncio.Task[_Answer]) -> None:
        """Wakes the callers."""
        if task.cancelled():
            for waiter in self.waiters:
                waiter.cancel()
            return
        self.error = task.exception()
        if self.error is None:
            self.answer = task.result()
        shares = divide(self.answer.usage, len(self.waiters))
        for waiter, usage in zip(self.waiters, shares, strict=True):
            if not waiter.done():
                answer = self.answer
                waiter.set_result(Spent(usage, answer.model, answer.cached, answer.channel))

    def outcome(self, digest: bytes, deadline: float) -> Verdict | CallError | None:
        """The outcome of one sample; `None` when the judge must be asked about it alone."""
        error = self.error
        if not isinstance(error, CallError) or error.reason in ALONE_AFTER:
            return self.answer.verdicts.get(digest)
        if error.reason == "deadline" and deadline > self.request.deadline:
            return None
        return error


class Pack:
    """A grader that sends several samples in one judge call. `await pack(request)` never fails.

    Samples of one lane, job and draw that arrive within `wait_s` share a call. Samples with the same question
    also share their place in it. A pack has the deadline of its first sample. A sample with an earlier
    deadline does not join: the open pack is sent, and the sample opens another. So no sample waits past its
    deadline. A sample that has time left after its pack's deadline is graded alone.

    A sample is also graded alone, by `grader`, if the answer has no usable verdict for it. If the whole
    answer is unusable, or the judge denied the call, all samples are graded alone, because the text of one
    may be the cause; so are they if the pack was too long for the judge, because each of them may fit. Any
    other failed call fails all its samples: single calls would fail in the same way.

    For example, with `max_samples = 4` five samples arrive within `wait_s`. Four go in one call. The answer
    has verdicts for three of them, so the fourth is graded alone. The fifth is alone when its `wait_s` is
    over, and becomes an ordinary call.

    grader: grades one sample; its judge and its prompt writer are used for packs.
    max_samples: most samples in one call; at least 2.
    max_tokens: most input tokens of samples in one call; a larger sample is graded alone.
    wait_s: how long the first sample waits for others, seconds.
    count_tokens: estimates the input tokens of texts.
    """

    def __init__(
        self,
        grader: Grader,
        *,
        max_samples: int,
        max_tokens: int,
        wait_s: float,
        count_tokens: Callable[[Sequence[str]], int],
    ) -> None:
        self._grader = grader
        self._writer = PackWriter(grader.writer)
        self._max_samples = max_samples
        self._max_tokens = max_tokens
        self._wait_s = wait_s
        self._count_tokens = count_tokens
        self._open: dict[tuple[str, str, int], _Load] = {}
        self._calls = self._packed = self._reasked = self._alone = self._waiting = 0

    def __repr__(self) -> str:
        return (
            f"<Pack of {self._max_samples} samples or {self._max_tokens} tokens"
            f" within {self._wait_s * 1000:g} ms>"
        )

    def statistics(self) -> PackStatistics:
        """A copy of the counts."""
        return PackStatistics(
            calls=self._calls,
            packed=self._packed,
            reasked=self._reasked,
            alone=self._alone,
            waiting=self._waiting,
        )

    async def __call__(self, request: Request[Sample], *, draw: int = 0, draws: int = 1) -> Reward:
        """The reward of one sample. Raises nothing but `asyncio.CancelledError`.

        draw, draws: index and number of the opinions on the sample (see `Vote`).
        """
        alone = partial(self._grader, request, draw=draw, draws=draws)
        item = self._item(request.body)
        if item is None:
            self._alone += 1
            return await alone()
        key = (request.lane, request.job, draw)
        load, waiter = self._join(key, request, item)
        spent = await self._wait(key, load, waiter)
        outcome = load.outcome(item.digest, request.deadline)
        if outcome is not None:
            self._packed += isinstance(outcome, Verdict)
            return self._grader.conclude(outcome, spent)
        if len(load.items) == 1:
            self._alone += 1
        else:
            self._reasked += 1
        return await alone(spent=spent.usage)

    def _item(self, sample: Sample) -> _Item | None:
        """The sample as a part of a pack; `None` when it is graded alone."""
        try:
            question = self._grader.writer.question(sample)
            needless = self._grader.without_judge(sample, question, Spent())
        except Exception:  # noqa: BLE001 - the grader fails too, and turns the error into a reward
            return None
        tokens = self._count_tokens((question.task, question.response, question.reference or ""))
        if needless is not None or tokens > self._max_tokens:
            return None
        return _Item(digest_question("item", name_texts(question)), question, tokens)

    def _join(
        self, key: _Key, request: Request[Sample], item: _Item
    ) -> tuple[_Load, asyncio.Future[Spent]]:
        loop = asyncio.get_running_loop()
        load = self._open.get(key)
        if load is not None and (
            request.deadline < load.request.deadline or not load.has_room(item, self._max_tokens)
        ):
            self._send(key, load)
            load = None
        if load is None:
            load = self._open[key] = _Load(request)
            load.timer = loop.call_later(self._wait_s, self._send, key, load)
        waiter: asyncio.Future[Spent] = loop.create_future()
        load.items[item.digest] = item
        load.waiters[waiter] = item.digest
        if len(load.items) == self._max_samples:
            self._send(key, load)
        return load, waiter

    async def _wait(self, key: _Key, load: _Load, waiter: asyncio.Future[Spent]) -> Spent:
        self._waiting += 1
        try:
            return await waiter
        except asyncio.CancelledError:
            load.drop(waiter)
            if not load.waiters:
                await self._abandon(key, load)
            raise
        finally:
            self._waiting -= 1

    async def _abandon(self, key: _Key, load: _Load) -> None:
        """Cancels a pack whose callers have all gone."""
        self._close(key, load)
        if load.task is not None and not load.task.done():
            load.task.cancel()
            await asyncio.wait((load.task,))

    def _send(self, key: _Key, load: _Load) -> None:
        self._close(key, load)
        load.task = asyncio.get_running_loop().create_task(self._ask(load, draw=key[2]))
        load.task.add_done_callback(load.land)

    def _close(self, key: _Key, load: _Load) -> None:
        """Closes the pack: no further sample joins it."""
        if load.timer is not None:
            load.timer.cancel()
        if self._open.get(key) is load:  # a later pack may have replaced it
            del self._open[key]

    async def _ask(self, load: _Load, draw: int) -> _Answer:
        if len(load.items) == 1:
            return NO_ANSWER  # no other sample came: an ordinary call, which the cache may answer
        items = list(load.items.values())
        questions = [item.question for item in items]
        prompt, completion = await self._grader.judge.ask(
            load.request, lambda channel: self._writer.write(questions, channel, draw)
        )
        self._calls += 1
        rubric = self._grader.rubric
        found = parse_pack(
            completion, prompt.labels, rubric.criteria, prompt.channel, rubric.reasoning
        )
        by_label = zip(prompt.labels, items, strict=True)
        return _Answer(
            verdicts={item.digest: found[label] for label, item in by_label if label in found},
            usage=NO_USAGE if completion.cached else completion.usage,
            model=completion.model,
            cached=completion.cached,
            channel=channel_of(completion, prompt.channel),
        )


def divide(usage: Usage, parts: int) -> list[Usage]:
    """Divides a usage into `parts` whole-number parts of nearly equal size. Their sum is the usage."""
    columns = [
        [total // parts + (number < total % parts) for number in range(parts)]
        for total in msgspec.structs.astuple(usage)
    ]
    return [Usage(*row) for row in zip(*columns, strict=True)] if parts else []
