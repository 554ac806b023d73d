"""Supports SnapStart, which restores many processes from one snapshot of a started process.

Anything that must differ between them, or that may break in the meantime, is made after the restore: the
event loop, sockets, the fences' secret. Python's random generator gets a new seed, because it
jitters the retries and names the process in the store of a shared quota.
"""

import importlib
import os
import random
from collections.abc import Callable

INITIALIZATION = "AWS_LAMBDA_INITIALIZATION_TYPE"


def register(close: Callable[[], None], open_: Callable[[], None]) -> None:
    """Registers hooks: `close` runs before the snapshot, `open_` after each restore.

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
