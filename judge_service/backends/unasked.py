"""What stands in a judge's place when rewards come from a grader of the user's own."""

from judge_service.errors import Denied
from judge_service.flow import Request
from judge_service.values import Channel, Completion, Prompt


class Unasked:
    """No judge. `model` is the name of what grades instead; asking it anything is refused."""

    channels: tuple[Channel, ...] = ("text",)

    def __init__(self, model: str) -> None:
        self.model = model

    def __repr__(self) -> str:
        return f"Unasked({self.model} grades)"

    def statistics(self) -> None:
        """There is nothing to count."""

    async def __call__(self, request: Request[Prompt]) -> Completion:
        del request
        raise Denied(f"there is no judge to ask: {self.model} grades (`grader` in the settings)")

    async def check(self) -> list[str]:
        """Nothing can be wrong with it."""
        return []

    async def aclose(self) -> None:
        """Nothing to end."""
