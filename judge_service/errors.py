"""The exceptions of judge-service.

    JudgeServiceError
    ├── SettingsError          the configuration is wrong; names the key and the remedy
    │   └── RubricError        the same for a rubric file
    ├── WireError              a request cannot be read; `.field` is the place
    ├── TooManyUnscored        too many samples of a batch have no score; the platform should retry
    ├── JudgeOut               the judge could not be asked for longer than a run's limit
    └── CallError              one call to a judge gave no completion
        ├── DeadlineExceeded   it would have ended, or did end, after its deadline
        ├── Throttled          429: the quota allows no call now
        ├── QuotaExhausted     the quota is used up for the day; a retry is useless
        ├── Unavailable        connection, 5xx, timeout, broken reply
        ├── Denied             400, 403, 404: the same call will fail again
        └── CredentialsError   there are no usable credentials, or they are refused

A foreign error is converted to one of these once, at the boundary of the part that met it (each backend has
one such place). Policies (retry, gate, breaker) read the attributes of `CallError`, never a message or a
class. An answer that is not usable is not an error: it is data, a `Verdict` without a score.
`asyncio.CancelledError` is converted only if the running task was not cancelled (`flow.stray`).
"""

import re

WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a section",
    "null": "unset",
}
"""The decoder's types, as an operator calls them."""

_TYPE = "|".join(WORDS)
_TYPES = re.compile(rf"`((?:{_TYPE})(?: \| (?:{_TYPE}))*)`")


class JudgeServiceError(Exception):
    """Base class of all exceptions of this package. `str(error)` is one sentence for a person."""


class SettingsError(JudgeServiceError):
    """A setting is unknown, malformed, out of range or contradicts another."""


class RubricError(SettingsError):
    """A rubric cannot be used; the message names file and key."""


class WireError(JudgeServiceError):
    """A request is not a batch of rollouts.

    field: the place as a JSON path, such as `$[3].messages[0].content`.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class TooManyUnscored(JudgeServiceError):
    """The share of samples without a score exceeds `unscored.max_fraction`."""


class JudgeOut(JudgeServiceError):
    """The judge could not be asked for longer than a run's limit. Rows judged so far are kept."""


class CallError(JudgeServiceError):
    """One judge call failed. The attributes tell policies what to do.

    reason: the word of `values.UNSCORED_REASONS` for a sample if this error is final.
    retryable: whether the same call may succeed later.
    throttled: the quota refused the call; this is not a failure of the judge and uses no retry budget.
    unsent: a policy of this process refused the call before it was sent, so it does not count as an attempt.
    retry_after_s: the wait that the judge asked for, seconds; `None` without one.
    charged: whether the judge may have charged the call against the quota (timeouts, broken replies); `False`
        returns the whole reservation.
    max_retries: limit of retries for this kind of failure; `None` uses the policy's.
    backoff_s: base of the wait before a retry, seconds; `None` uses the policy's.
    unsupported_channel: the model refused the form of the answer (schema, tool), not the question.
    """

    reason = "unavailable"
    retryable = False
    throttled = False
    unsent = False

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        charged: bool = False,
        max_retries: int | None = None,
        backoff_s: float | None = None,
        unsupported_channel: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.charged = charged
        self.max_retries = max_retries
        self.backoff_s = backoff_s
        self.unsupported_channel = unsupported_channel


class DeadlineExceeded(CallError):
    """The time before the deadline is not enough, or has passed."""

    reason = "deadline"


class Throttled(CallError):
    """The quota allows no call now (HTTP 429)."""

    reason = "throttled"
    retryable = True
    throttled = True


class QuotaExhausted(CallError):
    """The quota is used up for a long time ("too many tokens per day")."""

    reason = "quota_exhausted"


class Unavailable(CallError):
    """The judge could not be reached, failed, or sent a broken reply."""

    reason = "unavailable"
    retryable = True


class Denied(CallError):
    """The judge refuses the call itself, and would refuse it again."""

    reason = "denied"


class CredentialsError(Denied):
    """There are no usable credentials, or they are refused."""


def in_words(what: str) -> str:
    """A message of the decoder (msgspec) about a wrong type, in an operator's words."""
    said = _TYPES.sub(
        lambda found: " or ".join(WORDS.get(t, t) for t in found[1].split(" | ")), what
    )
    if said.startswith("Expected "):
        wanted, _, got = said.removeprefix("Expected ").partition(", got ")
        got = "a number with a fraction" if got == WORDS["float"] else got
        said = f"must be {wanted}" + (f", not {got}" if got else "")
    return said
