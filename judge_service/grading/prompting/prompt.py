"""Writes the prompt of one sample for a judge."""

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
from judge_service.grading.prompting.fence import Fences, Names, name_texts
from judge_service.grading.rubric.rubric import Rubric
from judge_service.grading.rubric.template import FIELDS, Template, packaged_template, placeholders
from judge_service.values import Channel, Message, Prompt, Question, Sample

CHANNELS: tuple[Channel, ...] = ("schema", "tool", "text")


class _Form(Struct, frozen=True):
    """The parts of a prompt that are the same for every sample."""

    system: Message
    user: Template
    reminded: Template
    schema: dict[str, object] | None
    max_output_tokens: int
    name: str


class PromptWriter:
    """Writes the prompts of one rubric.

    fence_secret: 16 to 64 random bytes, one set per process; the key of the fences' nonces.
    temperature: `None` uses the model's default.
    clean: applied to each text of a sample before the judge sees it.
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
        self.fences = Fences(fence_secret)
        self.temperature = temperature
        self._clean = clean
        self._shown = frozenset(placeholders(rubric.user)) & frozenset(FIELDS)
        self._forms = {channel: _form(rubric, channel) for channel in CHANNELS}
        self._settings = lru_cache(maxsize=64)(self._settings_of)  # nearly always the same one

    def __repr__(self) -> str:
        return (
            f"<PromptWriter {self.rubric.name} {self.rubric.version} shows {sorted(self._shown)}>"
        )

    def question(self, sample: Sample) -> Question:
        """The typed parts of a prompt, without those that the rubric's template does not show."""
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

        draw: index of a repeated draw; caches treat another index as another question.
        reminder: adds the sentence that an earlier answer did not have the requested form.
        max_output_tokens: overrides the channel's, after a truncated answer.
        """
        form = self._forms[channel]
        max_output_tokens = max_output_tokens or form.max_output_tokens
        names = name_texts(question)
        settings = self._settings(channel, max_output_tokens, draw, reminder)
        template = form.reminded if reminder else form.user
        values, shared = self.fences.enclose(question, names)
        return Prompt(
            question=question,
            messages=(form.system, Message("user", template.fill(values))),
            channel=channel,
            schema=form.schema,
            max_output_tokens=max_output_tokens,
            temperature=self.temperature,
            draw=draw,
            key=digest_question(settings, names).hex(),
            shared_chars=template.count_shared(values),
            shared_key=form.name + shared,
        )

    def _settings_of(
        self,
        channel: Channel,
        max_output_tokens: int,
        draw: int,
        reminder: bool,  # noqa: FBT001 - keyword arguments make lru_cache slower
    ) -> str:
        """The part of a question's digest that does not depend on the sample."""
        settings = (channel, max_output_tokens, self.temperature, draw, reminder)
        return f"{self.rubric.version} {settings}"


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
        name=name_form(rubric, channel),
    )


def name_form(rubric: Rubric, kind: str) -> str:
    """8 hex characters, equal for prompts that begin alike as far as the rubric and their kind go."""
    return hashlib.sha256(f"{rubric.version} {kind}".encode()).hexdigest()[:8]


def digest_question(settings: str, names: Names) -> bytes:
    """SHA-256 over the parts and their lengths, so that no two sets of parts look alike.

    settings: one line.
    """
    task, response, reference = names.task, names.response, names.reference
    lengths = f"{len(task)} {len(response)} {len(reference)} {settings}\n".encode()
    return hashlib.sha256(lengths + task + response + reference).digest()


def _conversation(messages: Sequence[Message]) -> str:
    """A single message unchanged; several messages each with its role in front."""
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"{message.role}: {message.content}" for message in messages)


def _encodable(text: str) -> str:
    """`text` with lone surrogates replaced: they have no UTF-8 form, so sending them would fail."""
    return text.encode("utf-8", "replace").decode()


def count_chars(question: Question) -> int:
    """Number of characters of a sample that the judge sees."""
    return len(question.task) + len(question.response) + len(question.reference or "")


def is_blank(text: str | None) -> bool:
    """Whether a text is empty or only white space, control and other invisible characters."""
    if not text:
        return True
    if text[0].isalnum():
        return False
    return all(char.isspace() or unicodedata.category(char) in {"Cc", "Cf"} for char in text)
