"""The identity of the instrument: all that can change an answer, by the name of the setting that says it.

The key of kept answers, the journal of `judge score` and jobs go by it: what one instrument judged is not
another's answer. Unless `CHANGES_NO_ANSWER` says why not, a new setting is part of it: none can be forgotten.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from judge_service.grading import Rubric
from judge_service.settings import Settings, keys

PROMPT_FORM = 1
"""Raised with every change of the code that writes prompts; `tests/assembly/test_instrument.py` notices one.
The rubric's own words, and the packaged templates, are in the rubric's version."""

BACKENDS = ("bedrock", "sagemaker", "openai")
"""Sections of backends: only the chosen one's counts."""

CHANGES_NO_ANSWER: Mapping[str, str] = {
    "limits.": "when a call is sent, not what it asks",
    "retry.": "how often a failed call is sent again; a failure is no answer",
    "hedge.": "a second copy of the same call",
    "http.": "how bytes travel, and how long they may take",
    "prompt_cache.": "what the judge need not read again, and who goes first",
    "cache.": "what is kept is the answer that was given",
    "deadline_s": "how long an answer may take",
    "grader_timeout_s": "how long an answer may take",
    "canaries.": "samples of our own beside the user's",
    "guards.forgeries": "is told, and changes no score",
    "guards.watch": "is told, and changes no score",
    "unscored.": "what a caller gets for a row without a score; the reward itself has none",
    "wire.": "how a reward is written for a caller; jobs, which keep what was written, add the range",
    "prices.": "what an answer costs",
    "logs.": "what is told of an answer",
    "function.": "where events come from and replies go",
    "service.": "who may ask, how much at once",
    "openai.api_key_env": "who pays",
    "bedrock.profile": "who pays; where it says the region, that is named",
    "sagemaker.profile": "who pays; where it says the region, that is named",
    "bedrock.transport": "both send the same bytes (a differential test holds it)",
    "rubric": "a place; its content counts, which `rubric` names by its version",
    "model": "the model that the backend has is named",
}
"""Settings that change no answer, with the reason. A name that ends with a point is a whole section."""

COUNTS_ALL_THE_SAME = frozenset({"http.max_reply_bytes"})
"""Of these sections what can change an answer: of a reply over the limit nothing is read."""


def instrument_of(
    settings: Settings, rubric: Rubric, model: str, environ: Mapping[str, str]
) -> dict[str, str]:
    """All that can change an answer: by the name of its setting, what it is. No secret is in it.

    model: who answers. environ: where the region is read from if no setting names it.
    """
    judge = judge_of(settings, model, environ)
    shown = {"rubric": f"{rubric.name} {rubric.version}", **judge}
    for name, value in _values(settings):
        if name not in shown and _counts(name, settings.backend):
            shown[name] = _text(name, value)
    return shown


def judge_of(settings: Settings, model: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The part of it that a prompt's own key does not name: who answers, and how it is asked."""
    shown = {"backend": settings.backend, "model": model, "prompt form": f"{PROMPT_FORM}"}
    sections = (f"{settings.backend}.", "failover.")
    for name, value in _values(settings):
        if name.startswith(sections) and _counts(name, settings.backend):
            shown[name] = _text(name, value)
    if settings.backend in ("bedrock", "sagemaker"):
        shown[f"{settings.backend}.region"] = _region(settings, environ)
    return shown


def digest_of(parts: Mapping[str, str]) -> str:
    """16 hex characters; equal for equal parts."""
    content = "\n".join(f"{name}={value}" for name, value in sorted(parts.items()))
    return sha256(content.encode()).hexdigest()[:16]


def _counts(name: str, backend: str) -> bool:
    section, _, key = name.partition(".")
    if key and section in BACKENDS and section != backend:
        return False
    excused = name in CHANGES_NO_ANSWER or (key and f"{section}." in CHANGES_NO_ANSWER)
    return not excused or name in COUNTS_ALL_THE_SAME


def _values(settings: Settings) -> list[tuple[str, Any]]:
    found = []
    for key in keys():
        value: Any = settings
        for part in key.name.split("."):
            value = getattr(value, part)
        found.append((key.name, value))
    return found


def _region(settings: Settings, environ: Mapping[str, str]) -> str:
    """The region that is called; of a profile's only the profile's name is known before the first call."""
    from judge_service.aws.credentials import region_in  # noqa: PLC0415 - only what is used

    chosen = settings.sagemaker if settings.backend == "sagemaker" else settings.bedrock
    profile = chosen.profile or environ.get("AWS_PROFILE") or "default"
    return chosen.region or region_in(environ) or f"of the profile {profile}"


def _text(name: str, value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    if name.endswith("_url") and value:
        return without_secrets(value)
    return "" if value is None else f"{value}"


def without_secrets(url: str) -> str:
    """A URL without user, password and what is behind its path; of that only a hash, since it may matter."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    behind = f"{parts.query}#{parts.fragment}" if parts.query or parts.fragment else ""
    hashed = f"?{sha256(behind.encode()).hexdigest()[:8]}" if behind else ""
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}{hashed}"
