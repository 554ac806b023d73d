"""The garbage collector of a process that does nothing but judge."""

import gc

YOUNG_OBJECTS = 20_000
"""New objects before the collector looks at them. With Python's 700 it looks many times a batch, for
nothing: what an evaluation makes is gone when it ends, without the collector (docs/performance.md)."""


def settle_garbage_collection() -> None:
    """What is there now stays, and is not walked through again and again, 30 ms at a time; what comes is
    looked at seldom. Called once, when all is open.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
