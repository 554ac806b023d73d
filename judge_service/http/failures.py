"""The failures that all remote judges share, made in one place so that their attributes agree.

One rule decides `charged`: a call that cannot have left this machine is not charged, any other one is.
"""

from judge_service.errors import CallError, DeadlineExceeded, Denied, Unavailable

MAX_MESSAGE_CHARS = 300


class TimedOut(Unavailable):
    """The judge did not answer within our timeout."""


def timed_out(timeout_s: float, *, at_deadline: bool) -> CallError:
    """The error for a call that was sent and not answered in time."""
    if at_deadline:
        return DeadlineExceeded(
            "the deadline passed while the judge was answering: raise `deadline_s`, or send less at once",
            charged=True,
        )
    return TimedOut(
        f"the judge did not answer within {timeout_s:g} s: raise `http.call_timeout_s`, or use a faster"
        " judge",
        charged=True,
        max_retries=1,
        backoff_s=0.0,
    )


def unreachable(cause: str) -> Unavailable:
    """The error for a call that never left this machine."""
    return Unavailable(
        f"the judge cannot be reached ({cause}): check region, endpoint and network", backoff_s=0.05
    )


def untrusted(cause: str) -> Unavailable:
    """The error for a judge whose certificate is not trusted. Nothing was sent to it."""
    return Unavailable(
        f"the judge's TLS certificate is refused ({cause}): check the endpoint's name, or name the"
        " authority that signed it in http.ca_file",
        max_retries=1,
        backoff_s=0.5,
    )


def exhausted(cause: str) -> Unavailable:
    """The error for a call for which this process has no connection left. Later there may be one."""
    return Unavailable(
        f"this process has no room for another connection to the judge ({cause}):"
        " raise `ulimit -n` or lower limits.max_in_flight",
        backoff_s=0.5,
    )


def closed() -> Unavailable:
    """The error for a call after the transport was closed."""
    return Unavailable("the connections to the judge have been closed: open the service again")


def broken(cause: str) -> Unavailable:
    """The error for a connection that broke after the request may have left."""
    return Unavailable(f"the connection to the judge broke ({cause})", charged=True, backoff_s=0.05)


def oversize(max_reply_bytes: int) -> Unavailable:
    """The error for a reply that is too long."""
    return Unavailable(
        f"the judge's reply is longer than http.max_reply_bytes ({max_reply_bytes}) and cannot be a verdict",
        charged=True,
        max_retries=1,
    )


def unreadable(cause: str) -> Unavailable:
    """The error for a reply of status 200 that is not a completion; one more try is worthwhile."""
    return Unavailable(
        f"the judge's reply cannot be read: {cause}", charged=True, max_retries=1, backoff_s=0.05
    )


def interrupted(word: str) -> Unavailable:
    """The error for a reply whose stop word says that the server failed."""
    return Unavailable(
        f"the judge was interrupted ({printable(word)}): send again", charged=True, backoff_s=0.05
    )


def refused(said: str) -> Denied:
    """The error for a content filter, which concerns this sample. It may have stopped the answer, which is
    charged then.
    """
    error = Denied(f"a content filter of the judge stopped it ({said})", charged=True)
    error.reason = "refused"
    return error


def too_long(said: str) -> Denied:
    """The error for a prompt that does not fit: it concerns this sample, not the judge."""
    error = Denied(f"the prompt does not fit the judge ({said})")
    error.reason = "too_long"
    return error


def printable(text: object) -> str:
    """At most one printable line of foreign text, `""` if it is not text."""
    line = " ".join(text[: 4 * MAX_MESSAGE_CHARS].split()) if isinstance(text, str) else ""
    return "".join(c for c in line if c.isprintable())[:MAX_MESSAGE_CHARS]
