"""Judges without a model: a scripted one for tests, a rehearsal's, and one that refuses every prompt."""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from judge_service.errors import Denied
from judge_service.flow import Request
from judge_service.values import Channel, Completion, Criterion, Prompt, Usage

Answer = str | float | dict[str, Any] | Completion | Exception
Answers = Answer | Sequence[Answer] | Callable[[Prompt], Answer]


class ScriptedStatistics(Struct, frozen=True):
    """answered: completions returned. raised: errors raised. in_flight: calls that wait for `latency_s`."""

    answered: int
    raised: int
    in_flight: int


class Scripted:
    """A judge that answers from a script.

    answers: one answer for every prompt, a list of answers that is used in order, or a function of the
        prompt. A `str` is the judge's text. A number is the score of every criterion, and a `dict` holds the
        answer by criterion; both are written in the prompt's form (the number itself, a JSON text, or a
        tool's input). A `Completion` is returned unchanged, an exception is raised.
    model: the model's name.
    channels: the forms in which it can answer, best first.
    latency_s: how long an answer takes, in seconds of the loop's clock, so it is exact in virtual time.

    `prompts` holds all prompts, in order.

    Raises AssertionError if there are more calls than answers in the list.
    """

    def __init__(
        self,
        answers: Answers,
        *,
        model: str = "scripted",
        channels: tuple[Channel, ...] = ("schema", "tool", "text"),
        latency_s: float = 0.0,
    ) -> None:
        self.model = model
        self.channels = channels
        self.prompts: list[Prompt] = []
        self._latency_s = latency_s
        self._next = _player(answers)
        self._answered = self._raised = self._in_flight = 0

    def __repr__(self) -> str:
        return f"<Scripted {self.model}: {len(self.prompts)} asked, {self._answered} answered>"

    def statistics(self) -> ScriptedStatistics:
        return ScriptedStatistics(self._answered, self._raised, self._in_flight)

    async def aclose(self) -> None:
        """Does nothing."""

    async def __call__(self, request: Request[Prompt]) -> Completion:
        prompt = request.body
        self.prompts.append(prompt)
        request.sent_at = asyncio.get_running_loop().time()
        answer = self._next(prompt)
        if self._latency_s:
            await self._wait()
        if isinstance(answer, Exception):
            self._raised += 1
            raise answer
        self._answered += 1
        return self._completion(prompt, answer)

    async def _wait(self) -> None:
        self._in_flight += 1
        try:
            await asyncio.sleep(self._latency_s)
        finally:
            self._in_flight -= 1

    def _completion(
        self, prompt: Prompt, answer: str | float | dict[str, Any] | Completion
    ) -> Completion:
        if isinstance(answer, Completion):
            return answer
        text, data = _in_channel(prompt, answer)
        return Completion(text=text, data=data, usage=Usage(calls=1), model=self.model)


def _in_channel(
    prompt: Prompt, answer: str | float | dict[str, Any]
) -> tuple[str | None, dict[str, Any] | None]:
    criteria = prompt.question.criteria
    if isinstance(answer, str):
        return answer, None
    if not isinstance(answer, dict):
        if prompt.channel == "text" and len(criteria) == 1:
            return str(answer), None
        answer = {criterion.name: answer for criterion in criteria}
    return (
        (None, answer) if prompt.channel == "tool" else (msgspec.json.encode(answer).decode(), None)
    )


def _player(answers: Answers) -> Callable[[Prompt], Answer]:
    if callable(answers):
        return answers
    if isinstance(answers, Sequence) and not isinstance(answers, str):
        return _in_order(iter(answers), len(answers))
    return lambda _prompt: answers


def _in_order(answers: Iterator[Answer], count: int) -> Callable[[Prompt], Answer]:
    def play(_prompt: Prompt) -> Answer:
        try:
            return next(answers)
        except StopIteration:
            raise AssertionError(
                f"the script has {count} answers and was called once more"
            ) from None

    return play


Script = Mapping[str, Mapping[str, float]]
"""Answers by the response's text: for each criterion a number on its scale."""

REHEARSAL_MODEL = "your judge"
"""The model's name in a rehearsal."""

_ITEM = re.compile(r"<item (\w+) (\w+)>\n(.*?)</item \1 \2>", re.DOTALL)
_RESPONSE = re.compile(r"<response (\w+)>\n(.*?)\n</response \1>", re.DOTALL)


def rehearse(script: Script) -> Scripted:
    """Makes a judge that answers from the script, and with the middle of the scale where it says nothing."""

    def answer(prompt: Prompt) -> Completion:
        packed = bool(getattr(prompt, "labels", ()))  # a prompt about several responses
        data = (
            _of_all(prompt, script) if packed else _of_one(prompt, script, prompt.question.response)
        )
        return Completion(data=data, usage=Usage(calls=1), model=REHEARSAL_MODEL)

    return Scripted(answer, model=REHEARSAL_MODEL)


def _of_one(prompt: Prompt, script: Script, response: str) -> dict[str, object]:
    known = script.get(response, {})
    return {one.name: known.get(one.name, _middle(one)) for one in prompt.question.criteria}


def _of_all(prompt: Prompt, script: Script) -> dict[str, object]:
    entries = []
    for label, _, text in _ITEM.findall(prompt.messages[-1].content):
        found = _RESPONSE.search(text)
        entries.append({"ID": label, **_of_one(prompt, script, found[2] if found else "")})
    return {"verdicts": entries}


def _middle(criterion: Criterion) -> float:
    if criterion.levels:
        return criterion.levels[len(criterion.levels) // 2]
    return (criterion.minimum + criterion.maximum) / 2


class NoJudge:
    """The judge where a custom grader or programs grade alone: it refuses every prompt.

    model: name of the grader that is used instead.
    """

    channels: tuple[Channel, ...] = ("text",)

    def __init__(self, model: str) -> None:
        self.model = model

    def __repr__(self) -> str:
        return f"NoJudge({self.model} grades)"

    def statistics(self) -> None:
        """There are no counts."""

    async def __call__(self, request: Request[Prompt]) -> Completion:
        del request
        raise Denied(f"there is no judge: {self.model} grades (`grader` in the settings)")

    async def aclose(self) -> None:
        """Does nothing."""
