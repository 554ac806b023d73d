"""SnapStart: one snapshot of a started process becomes many processes.

So nothing that must differ between them, or that may die meanwhile, is made before it is restored: no
event loop, no socket, no secret of the fences. Python's own random numbers are seeded anew, because
they jitter the retries and name the process in the store of a shared quota.
"""

import importlib
import os
import random
from collections.abc import Callable

INITIALIZATION = "AWS_LAMBDA_INITIALIZATION_TYPE"


def register(close: Callable[[], None], open_: Callable[[], None]) -> None:
    """Has the runtime close what is open before the snapshot, and open it after each restore.

    Without SnapStart it does nothing.
    """
    if os.environ.get(INITIALIZATION) != "snap-start":
        return
    hooks = importlib.import_module("snapshot_restore_py")  # part of the runtime, absent elsewhere
    hooks.register_before_snapshot(close)
    hooks.register_after_restore(_restored, open_)


def _restored(open_: Callable[[], None]) -> None:
    random.seed()
    open_()
