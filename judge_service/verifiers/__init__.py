"""Verifiers: programs that check a response (RLVR), without network, bounded in time and memory.

A kind of verifier is a module here with a record `Options` and a function `make(options) -> Verifier`.
`open_verifier` finds it by name and imports it only then, because some kinds need heavy libraries.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from judge_service.errors import RubricError
from judge_service.values import Sample
from judge_service.verifiers.front import answered, split

MODULES: Mapping[str, str] = {
    "boxed": "boxed",
    "choice": "choice",
    "code": "code.verifier",
    "exact": "exact",
    "groundedness": "groundedness",
    "json_schema": "json_schema",
    "language": "language",
    "instructions": "instructions.verifier",
    "math": "math.verifier",
    "number": "number",
    "overlap": "overlap",
    "pii": "pii",
    "refusal": "refusal",
    "regex": "regex",
    "sentiment": "sentiment",
    "sql": "sql.verifier",
    "tool_calls": "tool_calls.verifier",
}
"""The module of each kind of verifier, by name."""

EXTRA = "verifiers"
"""The extra with the optional dependencies of some kinds."""


class Check(Struct, frozen=True, kw_only=True):
    """A verifier's result.

    score: in [0, 1], finite; `None` when the sample could not be verified, which does not mean a bad answer.
    reason: a word of `values.UNSCORED_REASONS` exactly when score is `None`.
    detail: one sentence for a person, without candidate text.
    """

    score: float | None
    reason: str | None = None
    detail: str = ""


class Verifier(Protocol):
    """Checks samples; raises only `asyncio.CancelledError`."""

    async def __call__(self, sample: Sample, /) -> Check: ...

    async def aclose(self) -> None:
        """Ends what the verifier started; it can be called twice."""
        ...


class Pure:
    """A verifier made of a fast plain function."""

    def __init__(self, check: Callable[[Sample], Check]) -> None:
        self._check = check

    async def __call__(self, sample: Sample, /) -> Check:
        return self._check(sample)

    async def aclose(self) -> None:
        """Does nothing."""


class Front:
    """Passes only the answer of a response to a verifier (`front.split`); thoughts without answer score 0."""

    def __init__(self, inner: Verifier) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return repr(self.inner)

    async def __call__(self, sample: Sample, /) -> Check:
        if not isinstance(sample.response, str):
            return await self.inner(sample)
        turn = split(sample.response)
        check = await self.inner(answered(sample, turn))
        if turn.unfinished and check.score is not None:
            return Check(score=0.0, detail="the response has thoughts, but no answer after them")
        return check

    async def aclose(self) -> None:
        """Closes the verifier."""
        await self.inner.aclose()


def load(kind: str, options: Mapping[str, Any], where: str = "options") -> tuple[Any, Any]:
    """The module of a kind of verifier, and its options. Raises as `open_verifier` does."""
    if kind not in MODULES:
        raise RubricError(f"there is no verifier `{kind}`; there are {', '.join(sorted(MODULES))}")
    try:
        module = import_module(f"judge_service.verifiers.{MODULES[kind]}")
    except ImportError as missing:
        raise RubricError(
            f"the verifier `{kind}` needs the package {missing.name}:"
            f" pip install 'judge-service[{EXTRA}]'"
        ) from None
    try:
        chosen = msgspec.convert(dict(options), module.Options)
    except msgspec.ValidationError as problem:
        raise RubricError(f"`{where}`: {problem}") from None
    return module, chosen


def open_verifier(kind: str, options: Mapping[str, Any], where: str = "options") -> Verifier:
    """Opens a verifier by the name of its kind, wrapped in `Front`.

    With the option `thoughts` of some kinds there is no `Front`: the verifier checks the whole response.
    where: name of the options in errors.

    Raises RubricError for an unknown kind or option, or a missing package.
    """
    module, chosen = load(kind, options, where)
    verifier: Verifier = module.make(chosen)
    return verifier if getattr(chosen, "thoughts", False) else Front(verifier)
