"""From a sample to the prompt a judge sees."""

import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache

from msgspec import Struct

from judge_service.grading.prompting.answer import (
    answer_schema,
    count_tokens,
    describe_answer,
    describe_criteria,
)
from judge_service.grading.prompting.fence import choose_nonce, fenced, keyed_hash
from judge_service.grading.rubric.rubric import Rubric
from judge_service.grading.rubric.template import FIELDS, Template, packaged_template, placeholders
from judge_service.values import Channel, Message, Prompt, Question, Sample

CHANNELS: tuple[Channel, ...] = ("schema", "tool", "text")


class _Form(Struct, frozen=True):
    """Everything of a prompt that is the same for every sample."""

    system: Message
    user: Template
    reminded: Template
    schema: dict[str, object] | None
    max_output_tokens: int


class PromptWriter:
    """Writes the prompts of one rubric.

    fence_secret: 16 to 64 random bytes, one set per process; keys the fences' nonces.
    temperature: `None` leaves it to the model.
    clean: what is shown of each of a sample's texts.
    """

    def __init__(
        self,
        rubric: Rubric,
        *,
        fence_secret: bytes,
        temperature: float | None,
        clean: Callable[[str], str] = str,
    ) -> None:
        self.rubric = rubric
        self._keyed = keyed_hash(fence_secret)
        self.temperature = temperature
        self._clean = clean
        self._shown = frozenset(placeholders(rubric.user)) & frozenset(FIELDS)
        self._forms = {channel: _form(rubric, channel) for channel in CHANNELS}
        self._prefix = lru_cache(maxsize=64)(self._prefix_of)  # nearly always the same one

    def __repr__(self) -> str:
        return (
            f"<PromptWriter {self.rubric.name} {self.rubric.version} shows {sorted(self._shown)}>"
        )

    def question(self, sample: Sample) -> Question:
        """The typed parts. What the rubric's template does not show is left out of them."""
        task = _conversation(sample.messages) if "task" in self._shown else ""
        reference = sample.reference if "reference" in self._shown else None
        return Question(
            criteria=self.rubric.criteria,
            task=self._legible(task),
            response=self._legible(sample.response or ""),
            reference=None if is_blank(reference) else self._legible(reference or ""),
        )

    def _legible(self, text: str) -> str:
        return self._clean(text if text.isascii() else _encodable(text))

    def write(
        self,
        question: Question,
        channel: Channel,
        *,
        draw: int = 0,
        reminder: bool = False,
        max_output_tokens: int | None = None,
    ) -> Prompt:
        """One prompt.

        draw: index of a repeated draw; another index is another question to caches.
        reminder: adds the sentence that an earlier answer did not have the asked form.
        max_output_tokens: overrides the channel's own, for an answer that was cut off.
        """
        form = self._forms[channel]
        max_output_tokens = max_output_tokens or form.max_output_tokens
        digest = digest_question(self._prefix(channel, max_output_tokens, draw, reminder), question)
        template = form.reminded if reminder else form.user
        return Prompt(
            question=question,
            messages=(form.system, Message("user", self.fill(template, question, digest))),
            channel=channel,
            schema=form.schema,
            max_output_tokens=max_output_tokens,
            temperature=self.temperature,
            draw=draw,
            key=digest.hex(),
        )

    def _prefix_of(
        self,
        channel: Channel,
        max_output_tokens: int,
        draw: int,
        reminder: bool,  # noqa: FBT001 - lru_cache keeps keyword arguments apart at a cost
    ) -> str:
        """What of a question's digest is not the sample's."""
        settings = (channel, max_output_tokens, self.temperature, draw, reminder)
        return f"{self.rubric.version} {settings}"

    def fill(self, template: Template, question: Question, seed: bytes) -> str:
        """The template with the sample's texts in fences whose nonce comes from `seed`."""
        task, response, reference = question.task, question.response, question.reference
        nonce = self.nonce(seed, (task, response, reference or ""))
        return template.fill(
            {
                "task": fenced("task", task or None, nonce),
                "response": fenced("response", response, nonce),
                "reference": fenced("reference", reference, nonce),
                "nonce": nonce,
            }
        )

    def nonce(self, seed: bytes, texts: Sequence[str]) -> str:
        """16 hex characters that nobody outside can tell, and that occur in none of `texts`."""
        return choose_nonce(self._keyed, seed, texts)


def _form(rubric: Rubric, channel: Channel) -> _Form:
    known = {
        "answer": describe_answer(rubric, channel),
        "criteria": describe_criteria(rubric, channel),
    }
    return _Form(
        system=Message("system", Template(rubric.system, known).fill({})),
        user=Template(rubric.user, known),
        reminded=Template(f"{rubric.user}\n{packaged_template('reminder')}", known),
        schema=None if channel == "text" else dict(answer_schema(rubric)),
        max_output_tokens=count_tokens(rubric, channel),
    )


def digest_question(settings: str, question: Question) -> bytes:
    """SHA-256 over the parts, each with its length, so that no two sets of parts look alike."""
    task, response, reference = question.task, question.response, question.reference
    last = "-" if reference is None else f"{_count_bytes(reference)}:{reference}"
    # Encoded together: one copy of the texts less.
    content = (
        f"{settings}\n{_count_bytes(task)}:{task}\n{_count_bytes(response)}:{response}\n{last}"
    )
    return hashlib.sha256(content.encode()).digest()


def _count_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _conversation(messages: Sequence[Message]) -> str:
    """A single turn as it is; more of them each behind its role."""
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"{message.role}: {message.content}" for message in messages)


def _encodable(text: str) -> str:
    """`text` with lone surrogates replaced: they have no UTF-8 form and would fail while sending."""
    return text.encode("utf-8", "replace").decode()


def count_chars(question: Question) -> int:
    """The length of what the judge sees of a sample."""
    return len(question.task) + len(question.response) + len(question.reference or "")


def is_blank(text: str | None) -> bool:
    """Whether there is nothing to see: only white space, control and other invisible characters."""
    if not text:
        return True
    if text[0].isalnum():
        return False
    return all(char.isspace() or unicodedata.category(char) in {"Cc", "Cf"} for char in text)
