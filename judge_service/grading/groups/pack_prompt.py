"""From several samples to the one prompt a judge sees, and what it is told to answer."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from msgspec import Struct

from judge_service.grading.prompting.answer import (
    FRAME_TOKENS,
    answer_schema,
    count_verdict_tokens,
    list_criteria,
)
from judge_service.grading.prompting.prompt import CHANNELS, PromptWriter, digest_question
from judge_service.grading.rubric.rubric import Rubric
from judge_service.grading.rubric.template import FIELDS, Template, packaged_template
from judge_service.values import Channel, Message, Prompt, Question

ENTRIES, LABEL = "verdicts", "ID"
"""Keys of the answer. A criterion's name is in small letters, so it cannot be `ID`."""

ENTRY_TOKENS = 16
"""`{"ID": "kqbd", ` and `}, ` with room to spare."""

_FIELD = re.compile(r"\{\{(?:" + "|".join(FIELDS) + r")\}\}\n?")
_LETTERS = str.maketrans("0123456789abcdef", "bcdfghjklmnpqrst")


class PackedPrompt(Prompt, frozen=True, kw_only=True):
    """One question about several samples.

    labels: what each sample is called in the prompt and in the answer, in the order in which the
        samples were given, which is not the prompt's.
    question: says only what is graded; a judge that reads questions cannot read a pack.
    """

    labels: tuple[str, ...]


class _Form(Struct, frozen=True):
    """Everything of a pack's prompt that is the same for every pack."""

    system: Message
    before: Template
    item: Template
    after: Template
    schema: Mapping[str, Any] | None


class _Item(Struct, frozen=True):
    """One sample in a pack's prompt, whose place its mark decides."""

    mark: str
    label: str
    digest: bytes
    question: Question


class PackWriter:
    """Writes prompts about several samples.

    What stands between the first and the last field of the rubric's `user` template is repeated for
    every sample, inside an outer fence with the sample's label; the rest of it stands once.

    writer: writes the prompts about one sample.
    """

    def __init__(self, writer: PromptWriter) -> None:
        self._writer = writer
        self._rubric = writer.rubric
        self._forms = {channel: _form(writer.rubric, channel) for channel in CHANNELS}

    def __repr__(self) -> str:
        return f"<PackWriter {self._rubric.name} {self._rubric.version}>"

    def write(self, questions: Sequence[Question], channel: Channel, draw: int) -> PackedPrompt:
        """One prompt. Equal sets of questions give equal prompts, whatever their order.

        questions: two or more, no two alike.
        draw: another index is another question to caches, and another order of the samples.

        Order and labels come from a hash keyed with the process's secret. A sample can therefore not
        know its place or its label, and a stored answer can only be found by the process that asked:
        the key covers the labels, since elsewhere the same samples have others.
        """
        max_output_tokens = count_entries_tokens(self._rubric, channel, len(questions))
        settings = (channel, max_output_tokens, self._writer.temperature, draw)
        digests = [digest_question("item", question) for question in questions]
        seed = digest_parts(f"pack {self._rubric.version} {settings}".encode(), *sorted(digests))
        marks = [self._writer.nonce(seed + digest, ()) for digest in digests]
        labels = choose_labels(marks)
        columns = zip(marks, labels, digests, questions, strict=True)
        items = sorted((_Item(*column) for column in columns), key=attrgetter("mark"))
        form = self._forms[channel]
        return PackedPrompt(
            question=Question(criteria=self._rubric.criteria, task="", response=""),
            messages=(form.system, Message("user", self._fill(form, items, seed))),
            channel=channel,
            schema=form.schema,
            max_output_tokens=max_output_tokens,
            temperature=self._writer.temperature,
            draw=draw,
            key=digest_parts(seed, *(item.label.encode() + item.digest for item in items)).hex(),
            labels=labels,
        )

    def _fill(self, form: _Form, items: Sequence[_Item], seed: bytes) -> str:
        texts = [
            self._writer.fill(form.item, item.question, seed + b"item" + item.digest)
            for item in items
        ]
        nonce = self._writer.nonce(seed, texts)
        blocks = [
            f"<item {item.label} {nonce}>\n{text}</item {item.label} {nonce}>\n"
            for item, text in zip(items, texts, strict=True)
        ]
        known = {"nonce": nonce}
        return form.before.fill(known) + "".join(blocks) + form.after.fill(known)


def count_entries_tokens(rubric: Rubric, channel: Channel, samples: int) -> int:
    """Output tokens to allow: so much for each sample, and the frame once."""
    if rubric.max_output_tokens is not None:
        return samples * rubric.max_output_tokens
    return FRAME_TOKENS[channel] + samples * (ENTRY_TOKENS + count_verdict_tokens(rubric))


def _form(rubric: Rubric, channel: Channel) -> _Form:
    known = {"answer": describe_entries(rubric, channel, "pack"), "criteria": list_criteria(rubric)}
    before, item, after = _cut(rubric.user)
    return _Form(
        system=Message("system", Template(rubric.system, known).fill({})),
        before=Template(before, known),
        item=Template(item, known),
        after=Template(after, known),
        schema=None if channel == "text" else entries_schema(rubric),
    )


def _cut(user: str) -> tuple[str, str, str]:
    """What stands before the first field, from there to the last field, and after it."""
    fields = list(_FIELD.finditer(user))
    start, end = fields[0].start(), fields[-1].end()
    return user[:start], user[start:end], user[end:]


def describe_entries(rubric: Rubric, channel: Channel, task: str) -> str:
    """What `{{answer}}` stands for where an entry is wanted for each; `task` is a packaged text."""
    reasoned = rubric.reasoning == "brief"
    # A reason stands in its entry, also in text, where a single sample's stands before the object.
    form = {"text": "schema" if reasoned else "object", "schema": "schema", "tool": "tool"}[channel]
    keys = [LABEL, *answer_schema(rubric)["properties"]]
    entry = "{" + ", ".join(f'"{key}": ...' for key in keys) + "}"
    shape = f'{{"{ENTRIES}": [{entry}, ...]}}'
    name = f"answer_{form}_reasoned" if reasoned else f"answer_{form}"
    answer = Template(packaged_template(name), {"shape": shape}).fill({})
    return Template(packaged_template(task), {"answer": answer}).fill({})


def entries_schema(rubric: Rubric) -> Mapping[str, Any]:
    """A list of verdicts, each with its label, and not an object with a key for each label.

    Bedrock compiles a schema it has not seen, which can take minutes, and labels are new in each
    call: this schema is the same for every pack of a rubric, of whatever size.
    """
    verdict = answer_schema(rubric)
    entry = dict(verdict)
    entry["properties"] = {LABEL: {"type": "string"}, **verdict["properties"]}
    entry["required"] = list(entry["properties"])
    return {
        "type": "object",
        "properties": {ENTRIES: {"type": "array", "items": entry}},
        "required": [ENTRIES],
        "additionalProperties": False,
    }


def choose_labels(marks: Sequence[str]) -> tuple[str, ...]:
    """Four letters of each mark's end, its beginning being the order; more if two would be alike."""
    for length in range(4, 17):
        labels = tuple(mark[-length:].translate(_LETTERS) for mark in marks)
        if len(set(labels)) == len(marks):
            break
    return labels


def digest_parts(*parts: bytes) -> bytes:
    sha = hashlib.sha256()
    for part in parts:
        sha.update(b"%d:" % len(part))
        sha.update(part)
    return sha.digest()
