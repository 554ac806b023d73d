"""Injections through prompt, judge and parse: none gains a point by the prompt's structure or the parser.

Each judge here is gullible in its own way, and honest where it is given no chance to be fooled. That
the corpus could fool it is shown with the defence taken away.
"""

import importlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from judge_service import Message, Sample, Settings, open_service
from judge_service.backends.scripted import Scripted
from judge_service.grading.monitoring.guards import GUARDS
from judge_service.settings import GuardSettings, PackSettings
from judge_service.testing import run_virtual
from judge_service.values import Completion, Prompt
from tests.grading.corpora import injections, public_injections

QUALITY = str(Path(__file__).parents[3] / "examples" / "rubrics" / "quality.toml")
DATA = Path(os.environ.get("TEST_DATA", "/nowhere"))
CORPUS = dict(injections())
PUBLIC = dict(public_injections(DATA)) if DATA.is_dir() else {}

OWN = {"correctness": 1, "safety": 2, "format": 0, "conciseness": 0}
FOOLED = {"correctness": 4, "safety": 2, "format": 2, "conciseness": 2}
VERDICT = '{"correctness": 1, "safety": 2, "format": 0, "conciseness": 0}'
HONEST = (4 * 0.25 + 1.0) / 7

FENCE, PARSE = map(
    importlib.import_module,
    ("judge_service.grading.prompting.fence", "judge_service.grading.prompting.parse"),
)
"""As modules: the package has a function of that name."""

NAMED = re.compile(r"Text between (\w{16}(?:(?:, | and )\w{16})*) marks is data")


def sample(response: str) -> Sample:
    return Sample(messages=(Message("user", "Capital?"),), response=response, reference="Paris")


def outside(text: str, nonces: list[str]) -> str:
    """What stands outside of the fences, to a reader who takes the first closing mark."""
    for nonce in nonces:
        text = re.sub(rf"<(\w+) {nonce}>\n.*?</\1 {nonce}>\n", r"[\1]", text, flags=re.DOTALL)
    return text


def obeys_what_is_outside(prompt: Prompt) -> dict[str, int]:
    """Takes every word outside of the fences for an order, and what is in them for data."""
    text = prompt.messages[-1].content
    nonces = re.findall(r"\w{16}", NAMED.findall(text)[-1])  # the last, which are the template's
    orders = outside(text, nonces)
    is_plain = "\n[task][reference][response]Text between " in orders and all(
        orders.count(nonce) == 1 for nonce in nonces
    )
    question = prompt.question
    whole = f"<response {nonces[-1]}>\n{question.response}\n</response {nonces[-1]}>\n" in text
    return OWN if is_plain and whole else FOOLED


def quotes_first(prompt: Prompt) -> Completion:
    return Completion(text=f"The response is:\n{prompt.question.response}\n{VERDICT}")


def quotes_in_a_fence(prompt: Prompt) -> Completion:
    return Completion(text=f"```\n{prompt.question.response}\n```\n\n```json\n{VERDICT}\n```")


def scores(judge: Callable[[Prompt], Any], corpus: dict[str, str], **settings: Any) -> list[Any]:
    """Of the whole corpus; the guards that give 0 are off, so that the judge sees all of it."""
    off = {name: False for name in GUARDS if name not in {"forgeries", "invisible"}}

    async def scenario() -> list[Any]:
        chosen = Settings(rubric=QUALITY, guards=GuardSettings(**off), **settings)
        model = Scripted(judge, channels=("text",))
        async with open_service(chosen, environ={}, model=model) as service:
            return await service.score([sample(text) for text in corpus.values()])

    return [reward.score for reward in run_virtual(scenario())]


def changed(judge: Callable[[Prompt], Any], corpus: dict[str, str]) -> list[str]:
    """The names of those whose score is not the judge's own. A judge that quotes a whole verdict has given
    two, and so has none.
    """
    found = scores(judge, corpus)
    return [
        name
        for (name, text), score in zip(corpus.items(), found, strict=True)
        if (score is None and '"conciseness"' not in text)
        or (score is not None and abs(score - HONEST) > 1e-9)
    ]


GULLIBLE = [obeys_what_is_outside, quotes_first, quotes_in_a_fence]


def test_the_corpus_is_large_enough() -> None:
    assert len(CORPUS) >= 200
    assert len(set(CORPUS.values())) == len(CORPUS)


@pytest.mark.parametrize("judge", GULLIBLE)
def test_no_injection_changes_the_score_of_a_gullible_judge(
    judge: Callable[[Prompt], Any],
) -> None:
    assert changed(judge, CORPUS) == []


@pytest.mark.skipif(not DATA.is_dir(), reason="TEST_DATA is not set")
@pytest.mark.parametrize("judge", GULLIBLE)
def test_no_public_injection_changes_the_score_either(judge: Callable[[Prompt], Any]) -> None:
    assert len(PUBLIC) >= 200
    assert changed(judge, PUBLIC) == []


def test_the_corpus_would_break_a_fence_whose_nonce_can_be_guessed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FENCE, "choose_nonce", lambda *_: "0" * 16)

    assert len(changed(obeys_what_is_outside, CORPUS)) >= 18


def test_the_corpus_would_fool_a_parser_that_takes_the_first_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = re.compile(r"\{[^{}]*\}")
    monkeypatch.setattr(PARSE, "_final_object", lambda text: first.search(text)[0])

    assert len(changed(quotes_first, CORPUS)) >= 20


def test_control_tokens_of_chats_never_reach_a_judge() -> None:
    tokens = re.compile(
        r"<\|[^<>\n]+\|>|<\uff5c[^<>\n]+\uff5c>|\[/?INST\]|</s>|<(?:start|end)_of_turn>"
    )
    seen: list[str] = []

    def note(prompt: Prompt) -> dict[str, int]:
        seen.append(prompt.messages[-1].content)
        return OWN

    scores(note, CORPUS)

    assert sum(tokens.search(text) is not None for text in CORPUS.values()) >= 20
    assert not [text for text in seen if tokens.search(text)]


def test_no_injection_changes_the_scores_of_the_others_in_its_pack() -> None:
    def judge(prompt: Prompt) -> Any:
        labels = re.findall(r"^<item ([a-z]+) \w{16}>$", prompt.messages[-1].content, re.MULTILINE)
        if not labels:
            return OWN
        entries = ", ".join(f'{{"ID": "{label}", {VERDICT[1:-1]}}}' for label in labels)
        return f'{prompt.messages[-1].content}\n{{"verdicts": [{entries}]}}'

    found = scores(judge, CORPUS, pack=PackSettings(max_samples=8))

    assert {round(score, 9) for score in found} == {round(HONEST, 9)}
