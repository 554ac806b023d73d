"""How a request is written for a judge that refuses a part of it.

A refusal that names a part (`vocabulary.refusals.CHANGES`) is answered with the same call without it. The
words prove nothing, because a refusal may quote the prompt; so the change is kept only if that call gives a
completion, and the completion tells of it (`Completion.asked`).
"""

from collections.abc import Awaitable, Callable

from judge_service.backends.vocabulary.refusals import changes_for
from judge_service.http.reply import Reply
from judge_service.values import Message, Prompt

Changes = frozenset[str]
"""Names of `CHANGES`."""


class RequestForm:
    """The changes that a judge needs, as far as it has taught them.

    offered: those that this backend can make.
    """

    def __init__(self, *offered: str) -> None:
        self.changes: Changes = frozenset()
        self._offered = frozenset(offered)

    def __repr__(self) -> str:
        return described(self.changes) or "as documented"

    async def mend(
        self,
        prompt: Prompt,
        refusal: Reply,
        post: Callable[[Changes], Awaitable[Reply]],
        refusal_of: Callable[[Reply], str],
        *,
        needless: Changes = frozenset(),
    ) -> tuple[Reply, Changes]:
        """The reply to another call without what the refusal names, and the changes of that call.

        post: makes one call. refusal_of: what a reply says that refuses the request, `""` for any other.
        needless: changes that leave this prompt as it is.

        It ends because each call has one change more than the last.
        """
        changes, reply = self.changes, refusal
        while change := self.next_change(prompt, changes | needless, refusal_of(reply)):
            changes |= {change}
            reply = await post(changes)
        return reply, changes

    def next_change(self, prompt: Prompt, changes: Changes, said: str) -> str | None:
        """The change that a refusal asks for, besides those that are made; `None` if there is none.

        said: what refuses the request, `""` for anything else.
        """
        useful = self._offered - changes - _needless(prompt)
        return next((one for one in changes_for(said) if one in useful), None) if said else None

    def keep(self, changes: Changes) -> None:
        """A call with these changes gave a completion."""
        self.changes |= changes


def _needless(prompt: Prompt) -> Changes:
    """Changes that would leave the prompt as it is."""
    found = {"no temperature"} if prompt.temperature is None else set()
    if all(said.role != "system" for said in prompt.messages):
        found.add("no system role")
    return frozenset(found)


def described(changes: Changes) -> str:
    """The changes in words."""
    return ", ".join(sorted(changes))


def messages_for(prompt: Prompt, changes: Changes) -> tuple[Message, ...]:
    """The prompt's messages; without a system role its text begins the first message of the user."""
    if "no system role" not in changes:
        return prompt.messages
    system = [said.content for said in prompt.messages if said.role == "system"]
    first, *others = [said for said in prompt.messages if said.role != "system"]
    text = "\n\n".join([*system, first.content])
    return (Message(first.role, text), *others)
