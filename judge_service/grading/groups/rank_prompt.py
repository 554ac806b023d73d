"""Writes the prompt with which a judge compares several responses to one task."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from judge_service.grading.groups.pack_prompt import (
    PackedPrompt,
    choose_labels,
    count_entries_tokens,
    describe_entries,
    digest_parts,
    entries_schema,
)
from judge_service.grading.prompting.answer import list_criteria
from judge_service.grading.prompting.fence import Names, listed, name_texts
from judge_service.grading.prompting.prompt import (
    CHANNELS,
    PromptWriter,
    digest_question,
    name_form,
)
from judge_service.grading.rubric.rubric import Rubric
from judge_service.grading.rubric.template import Template, packaged_template
from judge_service.values import Channel, Message, Question

RESPONSE = "{{response}}"


class _Form(Struct, frozen=True):
    """The parts of a prompt that are the same for every group."""

    system: Message
    before: Template
    item: Template
    after: Template
    reminded: Template
    schema: Mapping[str, Any] | None


class RankWriter:
    """Writes prompts in which responses are compared with each other.

    The response of the rubric's `user` template is repeated, each in a fence inside an outer fence with its
    label. The rest of the template occurs once.

    writer: writes the prompts about one sample.
    """

    def __init__(self, writer: PromptWriter) -> None:
        self._writer = writer
        self._rubric = writer.rubric
        self._forms = {channel: _form(writer.rubric, channel) for channel in CHANNELS}
        self._version = f"rank {writer.rubric.version} {packaged_template('rank')}"

    def __repr__(self) -> str:
        return f"<RankWriter {self._rubric.name} {self._rubric.version}>"

    def write(
        self,
        questions: Sequence[Question],
        channel: Channel,
        *,
        reverse: bool = False,
        attempt: int = 0,
        room: int = 1,
    ) -> PackedPrompt:
        """One prompt. Equal sets of questions give equal prompts, whatever their order.

        questions: two or more with the same task and reference, all different.
        reverse: the same responses in the opposite order, with other labels.
        attempt: from 1 on, the prompt says that an earlier answer did not have the requested form.
        room: factor of the usual output tokens, after a truncated answer.

        Order and labels are derived from hashes keyed with the process's secret. So neither says anything
        about the source of a response, and no response can know its own label.
        """
        max_output_tokens = room * count_entries_tokens(self._rubric, channel, len(questions))
        settings = (channel, max_output_tokens, self._writer.temperature, attempt, reverse)
        names = [name_texts(question) for question in questions]
        digests = [digest_question("item", each) for each in names]
        base = digest_parts(self._version.encode(), *sorted(digests))
        seed = digest_parts(base, f"{settings}".encode())
        labels = choose_labels([self._writer.fences.nonce(seed + digest, ()) for digest in digests])
        order = self._order(base, digests, reverse=reverse)
        form = self._forms[channel]
        items = [(labels[place], names[place], questions[place]) for place in order]
        known, blocks, shared = self._parts(form, items, seed)
        after = form.reminded if attempt else form.after
        text = form.before.fill(known) + blocks + after.fill(known)
        return PackedPrompt(
            question=Question(criteria=self._rubric.criteria, task="", response=""),
            messages=(form.system, Message("user", text)),
            channel=channel,
            schema=form.schema,
            max_output_tokens=max_output_tokens,
            temperature=self._writer.temperature,
            draw=attempt,
            key=digest_parts(
                seed, *(labels[place].encode() + digests[place] for place in order)
            ).hex(),
            shared_chars=form.before.count_shared(known),
            shared_key=name_form(self._rubric, f"rank {channel}") + shared,
            labels=labels,
        )

    def _order(self, base: bytes, digests: Sequence[bytes], *, reverse: bool) -> list[int]:
        """Order of the questions in the prompt; equal for all attempts, so that both orders stay opposite."""
        marks = [self._writer.fences.nonce(base + digest, ()) for digest in digests]
        return sorted(range(len(marks)), key=marks.__getitem__, reverse=reverse)

    def _parts(
        self, form: _Form, items: Sequence[tuple[str, Names, Question]], seed: bytes
    ) -> tuple[Mapping[str, str], str, str]:
        """What stands once, by its placeholder, all responses, and what names the shared texts."""
        fences = self._writer.fences
        texts = [form.item.fill(fences.enclose(question, names)[0]) for _, names, question in items]
        _, names, shared = items[0]
        known, nonces = fences.enclose_shared(shared, names, "".join(texts))
        nonce = fences.nonce(seed, (*texts, shared.task, shared.reference or ""))
        blocks = [
            f"<item {label} {nonce}>\n{text}</item {label} {nonce}>\n"
            for (label, _, _), text in zip(items, texts, strict=True)
        ]
        return {**known, "nonce": listed([*nonces, nonce])}, "".join(blocks), "".join(nonces)


def _form(rubric: Rubric, channel: Channel) -> _Form:
    known = {"answer": describe_entries(rubric, channel, "rank"), "criteria": list_criteria(rubric)}
    before, _, after = rubric.user.partition(RESPONSE)
    after = after.removeprefix("\n")
    return _Form(
        system=Message("system", Template(rubric.system, known).fill({})),
        before=Template(before, known),
        item=Template(RESPONSE + "\n", known),
        after=Template(after, known),
        reminded=Template(f"{after}\n{packaged_template('reminder')}", known),
        schema=None if channel == "text" else entries_schema(rubric),
    )
