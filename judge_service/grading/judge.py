"""Asks a model for an answer in the best form (channel) that the model accepts."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from judge_service.errors import CallError
from judge_service.flow import Handler, Layer, Request, stack
from judge_service.grading.prompting.prompt import CHANNELS
from judge_service.telemetry.events import ChannelChanged, RequestChanged, Sink
from judge_service.values import Channel, Completion, Prompt

P = TypeVar("P", bound=Prompt)

Outcome = Literal["usable", "unusable", "ignored"]
"""What an answer is worth: it has a verdict, it has none, or it shows that the judge ignores the channel."""

DOUBTS = 3
"""How many prompts in a row must leave a channel that has given verdicts before it is left for good: one
refusal of it may come from words of the prompt, one answer in another form from a bad draw."""


class Judge:
    """Asks a model, and leaves for good a channel that the model refuses or ignores.

    A refusal may quote the prompt, and a model may answer in a wrong form once. So a prompt whose channel is
    refused or ignored is asked in the next one, and the judge changes channels only if that gave a usable
    answer: at once if the old one never gave a verdict, else after `DOUBTS` such prompts without a verdict
    in between.


    model: the judge, with all flow control inside it.
    ladder: the channels to try, in order; made by `choose_ladder`.
    """

    def __init__(
        self, model: Handler[Prompt, Completion], *, ladder: tuple[Channel, ...], sink: Sink
    ) -> None:
        self.ladder = ladder
        self.asked = 0
        self._model = model
        self._sink = sink
        self._proven = False
        self._doubts = 0
        self._told: set[str] = set()

    def __repr__(self) -> str:
        return f"<Judge answers {' > '.join(self.ladder)}>"

    @property
    def channel(self) -> Channel:
        """The channel in use."""
        return self.ladder[0]

    def watch(self, layer: Layer[Prompt, Completion]) -> None:
        """Adds a layer as the outermost one of the model."""
        self._model = stack(self._model, layer)

    async def ask(
        self,
        request: Request[Any],
        write: Callable[[Channel], P],
        read: Callable[[P, Completion], Outcome] = lambda _prompt, _completion: "usable",
    ) -> tuple[P, Completion]:
        """Returns the prompt that was answered, and its answer: the first usable one, else the first one.

        request: all of it except the body is passed on with the prompt.
        write: makes the prompt for a channel; called again for each further channel.
        read: says what an answer is worth; called once for each answer.

        Raises CallError.
        """
        ladder = self.ladder
        first: tuple[P, Completion] | None = None
        for channel in ladder:
            prompt = write(channel)
            self.asked += 1
            envelope: Request[Prompt] = Request(prompt, request.deadline, request.lane, request.job)
            try:
                completion = await self._model(envelope)
            except CallError as error:
                if first is not None:
                    return first
                if not error.unsupported_channel or channel == ladder[-1]:
                    raise
                continue
            if completion.asked:
                self._tell(completion)
            outcome = read(prompt, completion)
            if outcome == "usable":
                if channel == self.channel:
                    self._proven, self._doubts = True, 0
                elif ladder == self.ladder:
                    self._follow(channel, completion)
                return prompt, completion
            if outcome != "ignored" or channel == ladder[-1]:
                return first or (prompt, completion)
            first = first or (prompt, completion)
        raise AssertionError("a ladder has a channel")

    def _tell(self, completion: Completion) -> None:
        """Reports the changes to the request that the judge needed, once."""
        if completion.asked not in self._told:
            self._told.add(completion.asked)
            self._sink(RequestChanged(model=completion.model, changes=completion.asked))

    def _follow(self, channel: Channel, completion: Completion) -> None:
        """A prompt that began at the top of the present ladder got a usable answer in a lower channel.

        Several prompts in flight may be refused at once: only the first of them changes the channel.
        """
        self._doubts += 1
        if self._proven and self._doubts < DOUBTS:
            return
        refused = self.channel
        self.ladder = self.ladder[self.ladder.index(channel) :]
        self._proven, self._doubts = True, 0
        self._sink(ChannelChanged(model=completion.model, refused=refused, now=channel))


def choose_ladder(
    answer: Literal["auto"] | Channel,
    wanted: Literal["auto"] | Channel,
    channels: tuple[Channel, ...],
) -> tuple[Channel, ...]:
    """The channels to try, in order: first the operator's choice, else the rubric's, else the model's best.

    If the model does not support the rubric's choice, it is skipped; the operator's choice is always tried.
    """
    if not channels or channels[-1] != "text":
        raise ValueError(f"channels must end with text, got {channels}")
    if answer == "auto":
        answer = wanted if wanted in channels else channels[0]
    weaker = CHANNELS[CHANNELS.index(answer) + 1 :]
    return (answer, *(channel for channel in channels if channel in weaker))
