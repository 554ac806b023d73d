"""All errors of judge-service.

    JudgeServiceError
    ├── SettingsError          the operator's configuration is wrong; says which key, and the mend
    │   └── RubricError        the same for a rubric file
    ├── WireError              what arrived cannot be read; `.field` names the place
    ├── TooManyUnscored        too much of a batch could not be judged; the platform should retry
    ├── JudgeOut               the judge could not be asked for longer than a run was to wait
    └── CallError              one call to a judge did not give a completion
        ├── DeadlineExceeded   it would have ended, or did end, after its deadline
        ├── Throttled          429: the quota has no room now
        ├── QuotaExhausted     the quota is gone for the day; no use in trying again
        ├── Unavailable        connection, 5xx, timeout, broken reply
        ├── Denied             400, 403, 404: the same call will fail again
        └── CredentialsError   there are no usable credentials, or they are being refused

Rules. A foreign error is turned into one of these once, at the boundary it crossed (each backend has
one such place). Policies (retry, gate, breaker) read the attributes of `CallError` and never a
message or a class. A judgement that came back but is not usable is not an error: it is data, a
`Verdict` without a score. `asyncio.CancelledError` is caught to be turned into one of these only where
nobody has cancelled the running task (`flow.stray`).
"""


class JudgeServiceError(Exception):
    """Base of everything raised on purpose. `str(error)` is one sentence for the person who reads it."""


class SettingsError(JudgeServiceError):
    """A setting is unknown, malformed, out of range or contradicts another."""


class RubricError(SettingsError):
    """A rubric cannot be used; the message names file and key."""


class WireError(JudgeServiceError):
    """What arrived is no batch of rollouts.

    field: where, as a JSON path such as `$[3].messages[0].content`.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class TooManyUnscored(JudgeServiceError):
    """More of the batch than `unscored.max_fraction` could not be judged."""


class JudgeOut(JudgeServiceError):
    """The judge could not be asked for longer than a run was to wait. What was judged is kept."""


class CallError(JudgeServiceError):
    """One judge call failed. What policies need to know is in the attributes.

    reason: the word of `values.UNSCORED_REASONS` that a sample gets if this error is final.
    retryable: the same call may succeed later.
    throttled: the quota refused it; not a failure of the judge, costs no retry budget.
    unsent: refused on this machine, by a policy; nothing left, so it costs a retry no attempt.
    retry_after_s: how long the other side asked us to wait, seconds, `None` if it said nothing.
    charged: the call may have been charged against the quota (timeouts, broken replies); `False`
        refunds the whole reservation.
    max_retries: this kind of failure is worth at most so many retries, `None` for the policy's own cap.
    backoff_s: base of the wait before a retry, seconds, `None` for the policy's own.
    unsupported_channel: the model refused the way it was asked to answer (schema, tool), not the question.
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
    """There was not enough time left, or it ran out."""

    reason = "deadline"


class Throttled(CallError):
    """The quota has no room now (HTTP 429)."""

    reason = "throttled"
    retryable = True
    throttled = True


class QuotaExhausted(CallError):
    """The quota is used up until told otherwise ("too many tokens per day")."""

    reason = "quota_exhausted"


class Unavailable(CallError):
    """The judge could not be reached, failed, or sent a broken reply."""

    reason = "unavailable"
    retryable = True


class Denied(CallError):
    """The call itself is refused and would be refused again."""

    reason = "denied"


class CredentialsError(Denied):
    """No usable credentials."""
