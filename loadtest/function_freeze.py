"""Measures a Lambda environment that is frozen between two invocations: the next reply, and the quota.

    python loadtest/function_freeze.py [--frozen-s 600]

The environment is a process with the real runtime client. It uses up its quota, is stopped
(SIGSTOP), continued (SIGCONT) after ten minutes, and invoked again at once, with more work than its quota.
In the meantime the judge closes the connections, like a real judge of a frozen client.

Like Lambda, the signal does not stop the clock of the environment, so the process continues with every
timer overdue.
"""

import os
import signal
import time
from typing import Any

from environments import BATCH, Invocations, configured, fleet, invoke, rows
from measuring import MODEL, Simulated, at_most, report, say, simulator, sizes

REQUESTS_PER_MINUTE = 1_200
BURST = 1.01
"""Largest use of the quota in any 60 s that the service allows."""

ROUNDS = 3
SERVER_IDLE_S = 30.0


def main() -> None:
    options = sizes(__doc__, frozen_s=(600.0, 3.0))
    before, after = Invocations(), Invocations()
    idle_s = min(SERVER_IDLE_S, options.frozen_s / 2)
    quota = {"requests_per_minute": REQUESTS_PER_MINUTE, "burst_s": 60.0}
    with simulator(**quota, latency_median_s=0.3, idle_timeout_s=idle_s) as judge:
        environment = configured(judge.url, JUDGE_LIMITS_REQUESTS_PER_MINUTE=REQUESTS_PER_MINUTE)
        with fleet(1, environment) as [api]:
            work(api, 0, before)
            say(f"frozen for {options.frozen_s:g} s")
            os.kill(api.pid, signal.SIGSTOP)
            time.sleep(options.frozen_s)
            os.kill(api.pid, signal.SIGCONT)
            admitted = admitted_by(judge)
            thawed_s = time.monotonic()
            work(api, 1_000, after)
            spent_s = time.monotonic() - thawed_s
            admitted = admitted_by(judge) - admitted
        refused = judge.statistics()["quotas"][MODEL]["refused_requests"]
    allowed = REQUESTS_PER_MINUTE / 60 * (spent_s + 0.5)
    figures = [
        at_most("invocations that failed after the thaw", after.failed, 0),
        at_most("samples not judged after the thaw", after.unscored, 0),
        at_most("calls after the thaw over what the quota allows", admitted / allowed, BURST),
        at_most("calls that the judge refused", refused, 0),
        at_most("first answer after the thaw", after.seconds[0], 10.0, "s"),
    ]
    details: dict[str, Any] = {
        "frozen_s": options.frozen_s,
        "requests_per_minute": REQUESTS_PER_MINUTE,
        "invocation_s_before": before.seconds,
        "invocation_s_after": after.seconds,
        "failed_before": before.failed,
        "errors": after.errors,
    }
    report("function_freeze", figures, details, smoke=options.smoke)


def work(api: Any, first: int, seen: Invocations) -> None:
    """Sends batches that need more than the available quota."""
    for number in range(ROUNDS):
        invoke(api, rows(first + number * BATCH, BATCH), seen)


def admitted_by(judge: Simulated) -> int:
    admitted: int = judge.statistics()["quotas"][MODEL]["admitted"]
    return admitted


if __name__ == "__main__":
    main()
