"""How many connections this process can afford: each one is a file descriptor, and those are rationed."""

import logging
import resource

RESERVED = 128
"""Descriptors left for everything but judge connections: callers' sockets, files, pipes, the loop.

A Lambda environment has 1,024 in all, so at most 896 judge calls on the wire there.
"""


def affordable(wanted: int) -> int:
    """Connections out of `wanted` that `RLIMIT_NOFILE` leaves room for, at least one.

    The limit of slots above a transport should be the same number, so that nothing waits inside it.
    """
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - RESERVED))


def bounded(wanted: int) -> int:
    """`affordable`, with a line in the log if that is fewer than wanted."""
    most = affordable(wanted)
    if most < wanted:
        logging.getLogger("judge_service").warning(
            "at most %d judge calls at once instead of %d: the process may hold %d file descriptors;"
            " raise `ulimit -n` to at least %d or lower limits.max_in_flight",
            most,
            wanted,
            resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            wanted + RESERVED,
        )
    return most
