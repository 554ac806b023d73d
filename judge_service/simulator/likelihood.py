"""Token probabilities of the simulated model, in the form of chat completions.

A number gets neighbours as alternatives. The written number is the most likely one; the prompt decides to
which side the others lean, so that the expectation is the same in every process. A word gets a small rest.
"""

import re
from collections.abc import Mapping
from math import exp, log
from typing import Any

from judge_service.simulator.answers import unit

TOKEN = re.compile(r"[0-9]{1,3}|[^\W0-9_]+|\s+|.", re.DOTALL)
NEIGHBOURS = 4
"""Alternatives below and above the written number."""
SPREAD = 0.8
"""A number at the distance d from the centre has the weight `exp(-d * d / SPREAD)`."""
WORD = "None"
WORD_SHARE = 0.02
SURE = 0.999


def likelihoods(text: str, digest: int, top: int) -> list[dict[str, Any]]:
    """One entry per token, each with its `top` most likely alternatives, including the token itself."""
    return [
        _entry(token, _probabilities(token, digest, place), top)
        for place, token in enumerate(TOKEN.findall(text))
    ]


def _probabilities(token: str, digest: int, place: int) -> Mapping[str, float]:
    if not (token.isascii() and token.isdigit()):
        return {token: 1.0} if token == WORD else {token: SURE, WORD: 1 - SURE}
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
