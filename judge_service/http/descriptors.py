"""How many connections the process's limit of file descriptors allows."""

import logging
import resource

RESERVED = 128
"""Descriptors reserved for everything except judge connections: callers' sockets, files, pipes, the loop.

A Lambda environment has 1,024 in all, so it can have 896 judge calls on the wire.
"""


def affordable(wanted: int) -> int:
    """The number of connections, at most `wanted`, that `RLIMIT_NOFILE` allows; at least one.

    Use the same number as the limit of slots, so that no call waits inside the transport.
    """
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - RESERVED))


def bounded(wanted: int) -> int:
    """As `affordable`, with a log line if that is fewer than wanted."""
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
