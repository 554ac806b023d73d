"""Runs functions for thread pools at once on the loop, for tests in virtual time."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class InlineThreads(ThreadPoolExecutor):
    """A pool without threads. Its results are there when `submit` returns."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(work(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - it is the future's, as in any pool
            future.set_exception(error)
        return future
