"""Writes checkpoints, at once or in the background."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Saver:
    """Writes one checkpoint at a time.

    Args:
        background: whether training goes on while one is written. What is written must not change then.
    """

    def __init__(self, *, background: bool) -> None:
        self._pool = ThreadPoolExecutor(1, "checkpoint") if background else None
        self._under_way: Future[object] | None = None

    def save(self, write: Callable[[], object]) -> None:
        """Write, once the one before is written; what went wrong with that one is raised here."""
        self.wait()
        if self._pool is None:
            write()
        else:
            self._under_way = self._pool.submit(write)

    def wait(self) -> None:
        """Wait until everything is written, or raise what went wrong."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()
