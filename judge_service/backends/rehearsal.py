"""A judge without a model that plays the scores a rubric's author expects, to try a rubric out."""

import re
from collections.abc import Mapping

from judge_service.backends.scripted import Scripted
from judge_service.values import Completion, Criterion, Prompt, Usage

Script = Mapping[str, Mapping[str, float]]
"""By the response's text, the answer for each criterion in the criterion's own scale."""

MODEL = "your judge"
"""Stands where the name of a model will stand."""

_ITEM = re.compile(r"<item (\w+) (\w+)>\n(.*?)</item \1 \2>", re.DOTALL)
_RESPONSE = re.compile(r"<response (\w+)>\n(.*?)\n</response \1>", re.DOTALL)


def rehearse(script: Script) -> Scripted:
    """Answers what the script says of a response; of others, and of other criteria, the middle."""

    def answer(prompt: Prompt) -> Completion:
        packed = bool(getattr(prompt, "labels", ()))  # a prompt about several responses
        data = (
            _of_all(prompt, script) if packed else _of_one(prompt, script, prompt.question.response)
        )
        return Completion(data=data, usage=Usage(calls=1), model=MODEL)

    return Scripted(answer, model=MODEL)


def _of_one(prompt: Prompt, script: Script, response: str) -> dict[str, object]:
    known = script.get(response, {})
    return {one.name: known.get(one.name, _middle(one)) for one in prompt.question.criteria}


def _of_all(prompt: Prompt, script: Script) -> dict[str, object]:
    entries = []
    for label, _, text in _ITEM.findall(prompt.messages[-1].content):
        found = _RESPONSE.search(text)
        entries.append({"ID": label, **_of_one(prompt, script, found[2] if found else "")})
    return {"verdicts": entries}


def _middle(criterion: Criterion) -> float:
    if criterion.levels:
        return criterion.levels[len(criterion.levels) // 2]
    return (criterion.minimum + criterion.maximum) / 2
