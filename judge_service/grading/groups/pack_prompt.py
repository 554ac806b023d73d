"""Writes one prompt about several samples, with the form of its answer."""

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
from judge_service.grading.prompting.fence import Names, name_texts
from judge_service.grading.prompting.prompt import (
    CHANNELS,
    PromptWriter,
    digest_question,
    name_form,
)
from judge_service.grading.rubric.rubric import Rubric
from judge_service.grading.rubric.template import FIELDS, Template, packaged_template
from judge_service.values import Channel, Message, Prompt, Question

ENTRIES, LABEL = "verdicts", "ID"
"""Keys of the answer. A criterion's name has no capital letters, so it cannot be `ID`."""

ENTRY_TOKENS = 16
"""Output tokens of an entry's frame, `{"ID": "kqbd", ` and `}, `, with some reserve."""

_FIELD = re.compile(r"\{\{(?:" + "|".join(FIELDS) + r")\}\}\n?")
_LETTERS = str.maketrans("0123456789abcdef", "bcdfghjklmnpqrst")


class PackedPrompt(Prompt, frozen=True, kw_only=True):
    """One prompt about several samples.

    labels: the label of each sample in the prompt and in the answer, in the order of `questions`, which
        is not their order in the prompt.
    question: only the criteria; a judge that reads questions, not text, cannot grade a pack.
    """

    labels: tuple[str, ...]


class _Form(Struct, frozen=True):
    """The parts of a prompt that are the same for every pack."""

    system: Message
    before: Template
    item: Template
    after: Template
    schema: Mapping[str, Any] | None


class _Item(Struct, frozen=True):
    """One sample in a pack's prompt; the items are in the order of their marks."""

    mark: str
    label: str
    digest: bytes
    names: Names
    question: Question


class PackWriter:
    """Writes prompts about several samples.

    The part of the rubric's `user` template from the first field to the last is repeated for every sample,
    inside an outer fence with the sample's label. The rest of the template occurs once.

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

        questions: two or more, all different.
        draw: caches treat another index as another question; it also changes the order of the samples.

        Order and labels are derived from a hash keyed with the process's secret, so a sample cannot know its
        position or its label. The prompt's key covers the labels. So only the process that asked can find a
        cached answer, because in other processes the same samples have other labels.
        """
        max_output_tokens = count_entries_tokens(self._rubric, channel, len(questions))
        settings = (channel, max_output_tokens, self._writer.temperature, draw)
        names = [name_texts(question) for question in questions]
        digests = [digest_question("item", each) for each in names]
        seed = digest_parts(f"pack {self._rubric.version} {settings}".encode(), *sorted(digests))
        marks = [self._writer.fences.nonce(seed + digest, ()) for digest in digests]
        labels = choose_labels(marks)
        columns = zip(marks, labels, digests, names, questions, strict=True)
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
            shared_chars=form.before.count_shared({}),
            shared_key=name_form(self._rubric, f"pack {channel}"),
            labels=labels,
        )

    def _fill(self, form: _Form, items: Sequence[_Item], seed: bytes) -> str:
        fences = self._writer.fences
        texts = [form.item.fill(fences.enclose(item.question, item.names)[0]) for item in items]
        nonce = self._writer.fences.nonce(seed, texts)
        blocks = [
            f"<item {item.label} {nonce}>\n{text}</item {item.label} {nonce}>\n"
            for item, text in zip(items, texts, strict=True)
        ]
        known = {"nonce": nonce}
        return form.before.fill(known) + "".join(blocks) + form.after.fill(known)


def count_entries_tokens(rubric: Rubric, channel: Channel, samples: int) -> int:
    """Output tokens to allow: those of a verdict and its entry for each sample, and the frame once."""
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
    """The parts before the first field, from the first to the last field, and after the last field."""
    fields = list(_FIELD.finditer(user))
    start, end = fields[0].start(), fields[-1].end()
    return user[:start], user[start:end], user[end:]


def describe_entries(rubric: Rubric, channel: Channel, task: str) -> str:
    """The text that replaces `{{answer}}` when each sample needs an entry; `task` is a packaged text."""
    reasoned = rubric.reasoning == "brief"
    # A reason is in its entry, also in the text channel, where a single sample's is before the object.
    form = {"text": "schema" if reasoned else "object", "schema": "schema", "tool": "tool"}[channel]
    keys = [LABEL, *answer_schema(rubric)["properties"]]
    entry = "{" + ", ".join(f'"{key}": ...' for key in keys) + "}"
    shape = f'{{"{ENTRIES}": [{entry}, ...]}}'
    name = f"answer_{form}_reasoned" if reasoned else f"answer_{form}"
    answer = Template(packaged_template(name), {"shape": shape}).fill({})
    return Template(packaged_template(task), {"answer": answer}).fill({})


def entries_schema(rubric: Rubric) -> Mapping[str, Any]:
    """The JSON schema of the answer: a list of verdicts, each with its label.

    It is not an object with a key for each label, because labels are new in each call, and Bedrock compiles
    each new schema, which can take minutes. This schema is the same for every pack of a rubric.
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
    """A label for each mark: four letters from the mark's end, or more if two would be equal.

    The end, because the beginning of a mark decides the order.
    """
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
