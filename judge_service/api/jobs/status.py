"""How far a job is, as a caller sees it."""

from msgspec import Struct

from judge_service.api.jobs.job_file import Facts, State


class JobStatus(Struct, frozen=True, kw_only=True):
    """A job.

    done: of `total` samples have a result; `unscored` of these have no score, by reason.
    per_s: of its present run. eta_s: seconds until it is done at that rate; null when not at work.
    created_at, finished_at: seconds since 1970; null when it has not ended.
    judge: what judges it, null before it began. detail: why it failed, or waits.
    reason, until: why a job waits that is `waiting`, as for a row without a score, and when its judge is
        asked again, seconds since 1970; null for all others.
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
    """now: seconds since 1970."""
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
    """Results a second since its present run began."""
    if facts.state != "running" or now <= facts.started_at:
        return None
    return round((facts.done - facts.done_before) / (now - facts.started_at), 3)
