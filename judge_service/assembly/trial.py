"""A trial: scores samples like any others, and records every judge call (for `judge check`).

So a trial finds the problems of a run: of the rubric's prompt, its channel, the parameters, all layers and
stores. Only the cache has no effect: each question has a new key, so that a lookup finds nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from uuid import uuid4

from msgspec import Struct
from msgspec.structs import replace

from judge_service.assembly.graders import Graders
from judge_service.assembly.stacks import Assembly
from judge_service.assembly.targets import Target
from judge_service.errors import CallError
from judge_service.flow import Handler, Request
from judge_service.flow.cache import Cache
from judge_service.grading import Rubric, has_verdict
from judge_service.settings import Settings
from judge_service.values import Completion, Message, Prompt, Reward, Sample

BUILT_IN = tuple(
    Sample(
        id=f"built-in {place}",
        messages=(Message("user", "What is two plus three?"),),
        response=response,
        reference="Two plus three is five.",
        group_key="built-in",
    )
    for place, response in enumerate(("Two plus three equals 5.", "Two plus three equals 6."), 1)
)
"""Short samples with everything that a judged criterion may need; the good response is the first."""


class Call(Struct, frozen=True, kw_only=True):
    """A judge call with its outcome, including retries and other targets.

    is_usable: whether the answer has a verdict in the requested form for each sample of the question.
    """

    prompt: Prompt
    duration_s: float
    completion: Completion | None = None
    error: CallError | None = None
    is_usable: bool = False


class Trial(Struct, frozen=True, kw_only=True):
    """The result of a trial.

    rewards: one per sample. calls: judge calls in the order of their ends. duration_s: of the whole trial.
    is_built_in: whether `BUILT_IN` was judged.
    stores: problems of the shared cache, a sentence each.
    targets: problems of failover targets, and a note if the embedded judge uses its fallback.
    """

    rewards: tuple[Reward, ...]
    calls: tuple[Call, ...]
    duration_s: float
    is_built_in: bool
    stores: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


class Recorder:
    """A layer around the whole judge that records every call and bypasses the cache."""

    def __init__(self, rubrics: Sequence[Rubric]) -> None:
        self.calls: list[Call] = []
        self._rubrics = {rubric.criteria: rubric for rubric in rubrics}

    def __repr__(self) -> str:
        return f"Recorder({len(self.calls)} calls)"

    async def __call__(
        self, request: Request[Prompt], call_next: Handler[Prompt, Completion]
    ) -> Completion:
        now = asyncio.get_running_loop().time
        prompt, began_s = replace(request.body, key=f"trial {uuid4().hex}"), now()
        asked = Request(prompt, request.deadline, request.lane, request.job)
        try:
            completion = await call_next(asked)
        except CallError as error:
            self.calls.append(Call(prompt=prompt, duration_s=now() - began_s, error=error))
            raise
        self.calls.append(
            Call(
                prompt=prompt,
                duration_s=now() - began_s,
                completion=completion,
                is_usable=self.is_usable(prompt, completion),
            )
        )
        return completion

    def is_usable(self, prompt: Prompt, completion: Completion) -> bool:
        """Whether the answer is a verdict."""
        return has_verdict(prompt, completion, self._rubrics[prompt.question.criteria])


async def try_out(
    samples: Sequence[Sample],
    stream: Callable[..., AsyncIterator[tuple[int, Reward]]],
    graders: Graders,
    assembly: Assembly,
    settings: Settings,
) -> Trial:
    """Scores the first sample, or the first two if a call is about several; by default built-in ones.

    stream: `JudgeService.stream`. Do not use `graders` after it, because their judges remain recorded.
    """
    rubrics = [asking.rubric for asking in graders.askings]
    recorder = Recorder(rubrics)
    for asking in graders.askings:
        asking.grader.judge.watch(recorder)
    compares = any(rubric.compare == "group" for rubric in rubrics)
    tried = (samples or BUILT_IN)[: 2 if compares or settings.pack.max_samples > 1 else 1]
    now = asyncio.get_running_loop().time
    began_s = now()
    scoring = stream(enumerate(tried), deadline_s=settings.deadline_s)
    found = {place: reward async for place, reward in scoring}
    duration_s = now() - began_s
    targets = [one async for one in _of_targets(assembly, recorder, settings.deadline_s)]
    return Trial(
        rewards=tuple(found[place] for place in range(len(tried))),
        calls=tuple(recorder.calls),
        duration_s=duration_s,
        is_built_in=not samples,
        stores=tuple(_of_stores(assembly)),
        targets=tuple(targets),
    )


def _of_stores(assembly: Assembly) -> Iterator[str]:
    for layer in assembly.per_prompt:
        if isinstance(layer, Cache) and layer.store and (problem := layer.store.problem()):
            yield problem


async def _of_targets(
    assembly: Assembly, recorder: Recorder, deadline_s: float
) -> AsyncIterator[str]:
    """Calls the targets that got no call, because the first one answered."""
    for target in assembly.targets:
        if shortcoming := getattr(target.backend, "shortcoming", ""):
            yield shortcoming
        if not recorder.calls or target.gate.statistics().granted:
            continue
        if problem := await _try_target(target, recorder, deadline_s):
            yield f"{target.name}: {problem}"


async def _try_target(target: Target, recorder: Recorder, deadline_s: float) -> str:
    prompt = recorder.calls[-1].prompt
    deadline = asyncio.get_running_loop().time() + deadline_s
    try:
        completion = await target.handler()(Request(prompt, deadline))
    except CallError as error:
        return "" if error.throttled else str(error)  # it accepts calls and is only busy
    if recorder.is_usable(prompt, completion):
        return ""
    return f"its answer through `{prompt.channel}` is not in the requested form: use another model there"
