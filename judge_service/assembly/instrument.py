"""The identity of the instrument: everything that can change an answer, by the name of its setting.

The cache of answers, the journal of `judge score`, and jobs compare it, so that the answers of two different
instruments are not mixed. A new setting is part of it unless `CHANGES_NO_ANSWER` lists it with a reason.

Worked example: `temperature` is part of the identity, so a journal that was written at 0 is refused at 0.5.
`limits.requests_per_minute` is not, because it changes only when a call is sent.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from judge_service.grading import Rubric
from judge_service.settings import Settings, keys

PROMPT_FORM = 1
"""Version of the code that writes prompts. Raise it with every change of that code, which
`tests/assembly/test_instrument.py` detects. The texts of the rubric and the packaged templates are part of
the rubric's version instead."""

BACKENDS = ("bedrock", "sagemaker", "openai")
"""Sections of backends; only the section of the chosen backend is part of the identity."""

CHANGES_NO_ANSWER: Mapping[str, str] = {
    "limits.": "when a call is sent, not what it asks",
    "retry.": "how often a failed call is sent again; a failure is no answer",
    "hedge.": "a second copy of the same call",
    "http.": "how bytes are sent, and how long that may take",
    "prompt_cache.": "what the judge need not read again, and which call is sent first",
    "cache.": "a cached answer is the answer that was given",
    "deadline_s": "how long an answer may take",
    "grader_timeout_s": "how long an answer may take",
    "canaries.": "additional samples beside the user's",
    "guards.forgeries": "is reported, and changes no score",
    "guards.watch": "is reported, and changes no score",
    "unscored.": "what a caller gets for a row without a score; the reward itself has none",
    "wire.": "how a reward is written for a caller; jobs store written rewards, so they add the range",
    "prices.": "what an answer costs",
    "logs.": "what is logged about an answer",
    "function.": "where events come from and where replies go",
    "service.": "who may send requests, and how many at once",
    "openai.api_key_env": "who pays",
    "bedrock.profile": "who pays; its region is listed separately",
    "sagemaker.profile": "who pays; its region is listed separately",
    "bedrock.transport": "both transports send the same bytes (a differential test compares them)",
    "rubric": "a path; the version of the rubric's content is listed as `rubric` instead",
    "model": "the model that the backend uses is listed instead",
}
"""Settings that change no answer, with the reason. A name that ends with a point is a whole section."""

COUNTS_ALL_THE_SAME = frozenset({"http.max_reply_bytes"})
"""Settings of these sections that can change an answer: a reply over the limit is not read."""


def instrument_of(
    settings: Settings, rubric: Rubric, model: str, environ: Mapping[str, str]
) -> dict[str, str]:
    """Returns everything that can change an answer: values by the name of the setting, without secrets.

    model: the model that answers. environ: contains the region if no setting names it.
    """
    judge = judge_of(settings, model, environ)
    shown = {"rubric": f"{rubric.name} {rubric.version}", **judge}
    for name, value in _values(settings):
        if name not in shown and _counts(name, settings.backend):
            shown[name] = _text(name, value)
    return shown


def judge_of(settings: Settings, model: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the part that the key of a prompt does not contain: the model, and how it is called."""
    shown = {"backend": settings.backend, "model": model, "prompt form": f"{PROMPT_FORM}"}
    sections = (f"{settings.backend}.", "failover.")
    for name, value in _values(settings):
        if name.startswith(sections) and _counts(name, settings.backend):
            shown[name] = _text(name, value)
    if settings.backend in ("bedrock", "sagemaker"):
        shown[f"{settings.backend}.region"] = _region(settings, environ)
    return shown


def digest_of(parts: Mapping[str, str]) -> str:
    """Returns a hash of the parts: 16 hex characters."""
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
    """The region of the calls. If a profile contains it, only the profile's name is known before a call."""
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
    """A URL without user and password. Query and fragment may change answers, so they become a hash."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    behind = f"{parts.query}#{parts.fragment}" if parts.query or parts.fragment else ""
    hashed = f"?{sha256(behind.encode()).hexdigest()[:8]}" if behind else ""
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}{hashed}"
