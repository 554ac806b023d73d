"""Asks a model for an answer in the best form (channel) that the model accepts."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from judge_service.errors import CallError
from judge_service.flow import Handler, Layer, Request, stack
from judge_service.grading.prompting.prompt import CHANNELS
from judge_service.telemetry.events import ChannelChanged, Sink
from judge_service.values import Channel, Completion, Prompt

P = TypeVar("P", bound=Prompt)


class Judge:
    """Asks a model, and does not use a channel again after the model has refused it.

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
        self._last_model = ""

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
        self, request: Request[Any], write: Callable[[Channel], P]
    ) -> tuple[P, Completion]:
        """Returns the prompt that was answered, and its answer.

        request: all of it except the body is passed on with the prompt.
        write: makes the prompt for a channel; called again for each further channel.

        Raises CallError.
        """
        while True:
            prompt = write(self.channel)
            self.asked += 1
            envelope: Request[Prompt] = Request(prompt, request.deadline, request.lane, request.job)
            try:
                completion = await self._model(envelope)
            except CallError as error:
                if not error.unsupported_channel or not self._step_down(prompt.channel):
                    raise
            else:
                self._last_model = completion.model
                return prompt, completion

    def _step_down(self, refused: Channel) -> bool:
        """Stops using a channel that the model refused; `False` when there is no other.

        Several prompts in flight may be refused at once: only the first of them changes the channel.
        """
        if refused != self.channel:
            return True
        if len(self.ladder) == 1:
            return False
        self.ladder = self.ladder[1:]
        self._sink(ChannelChanged(model=self._last_model, refused=refused, now=self.channel))
        return True


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
