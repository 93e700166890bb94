"""Runs made in the process that compares, which alone knows the classes of its session."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from zoo.executor import Executor


class ThisProcess(Executor):
    """A thread that makes one call after the other.

    A thread cannot be killed. So `terminate` waits for the call that is being made: the comparison has asked all runs
    to stop before, and they do after their step.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="zoo-compare")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a call made when those before it have ended."""
        return self._thread.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; by default wait for those that were taken."""
        self._thread.shutdown(wait, cancel_futures=cancel_futures)

    def terminate(self) -> None:
        """Wait for the call that is being made, and drop the others."""
        self.shutdown(wait=True, cancel_futures=True)
