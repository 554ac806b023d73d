"""The status of a job for its caller."""

from msgspec import Struct

from judge_service.api.jobs.job_file import Facts, State


class JobStatus(Struct, frozen=True, kw_only=True):
    """The status of a job.

    done: samples of `total` with a result; `unscored` of them have no score, by reason.
    per_s: rate of the present run. eta_s: seconds until it is done at this rate; null if it does not run.
    created_at, finished_at: seconds since 1970; null if it has not ended.
    judge: the judge, null before the job began. detail: why it failed, or waits.
    reason, until: for a job that is `waiting`, the reason, as of a row without a score, and the time of
        the next probe of the judge, seconds since 1970; null for all others.
    """

    id: str
    state: State
    total: int
    done: int
    unscored: dict[str, int]
    per_s: float | None
    eta_s: float | None
    created_at: float
    finished_at: float | None
    judge: str | None
    reason: str | None
    until: float | None
    detail: str


def status_of(facts: Facts, now: float) -> JobStatus:
    """The status at `now`, seconds since 1970."""
    per_s = _rate(facts, now)
    return JobStatus(
        id=facts.id,
        state=facts.state,
        total=facts.total,
        done=facts.done,
        unscored=dict(facts.unscored),
        per_s=per_s,
        eta_s=round((facts.total - facts.done) / per_s, 1) if per_s else None,
        created_at=facts.created_at,
        finished_at=facts.finished_at or None,
        judge=facts.judge or None,
        reason=facts.reason or None,
        until=facts.until or None,
        detail=facts.detail,
    )


def _rate(facts: Facts, now: float) -> float | None:
    """Results a second in the present run."""
    if facts.state != "running" or now <= facts.started_at:
        return None
    return round((facts.done - facts.done_before) / (now - facts.started_at), 3)
