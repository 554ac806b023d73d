"""How sure the pretended model is of each token it writes, in the form of chat completions.

Numbers get neighbours: the written one is the most likely, and which side its probability leans to is
drawn from the prompt, so the expectation is the same in every process. A little goes to a word.
"""

import re
from collections.abc import Mapping
from math import exp, log
from typing import Any

from judge_service.simulator.answers import unit

TOKEN = re.compile(r"[0-9]{1,3}|[^\W0-9_]+|\s+|.", re.DOTALL)
NEIGHBOURS = 4
"""Numbers below and above the written one that have a chance."""
SPREAD = 0.8
"""A number at a distance d from what is meant has a share of `exp(-d * d / SPREAD)`."""
WORD = "None"
WORD_SHARE = 0.02
SURE = 0.999


def likelihoods(text: str, digest: int, top: int) -> list[dict[str, Any]]:
    """One entry per token, each with its `top` most likely alternatives, itself among them."""
    return [
        _entry(token, _probabilities(token, digest, place), top)
        for place, token in enumerate(TOKEN.findall(text))
    ]


def _probabilities(token: str, digest: int, place: int) -> Mapping[str, float]:
    if not (token.isascii() and token.isdigit()):
        return {token: SURE, WORD: 1 - SURE}
    meant = unit(digest, f"likelihood {place}") - 0.5
    weights = {
        str(int(token) + step) if step else token: exp(-((step - meant) ** 2) / SPREAD)
        for step in range(-NEIGHBOURS, NEIGHBOURS + 1)
        if int(token) + step >= 0
    }
    share = (1 - WORD_SHARE) / sum(weights.values())
    return {**{number: weight * share for number, weight in weights.items()}, WORD: WORD_SHARE}


def _entry(token: str, probabilities: Mapping[str, float], top: int) -> dict[str, Any]:
    likely = sorted(probabilities.items(), key=lambda one: -one[1])[:top]
    return {
        **_told(token, probabilities[token]),
        "top_logprobs": [_told(text, probability) for text, probability in likely],
    }


def _told(token: str, probability: float) -> dict[str, Any]:
    spelled = list(token.encode("utf-8", "surrogatepass"))
    return {"token": token, "logprob": log(probability), "bytes": spelled}
