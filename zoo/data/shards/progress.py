"""How far an encoding is, for whoever wants to show it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class EncodingProgress:
    """Where an encoding stands.

    Attributes:
        name: of the data.
        done: bytes of its files that were read and encoded.
        total: bytes of its files; 0 where that is unknown.
        documents: encoded so far.
        bytes_per_second: of the files, over the time since this process began or resumed.
    """

    name: str
    done: int
    total: int
    documents: int
    bytes_per_second: float


ProgressCallback: TypeAlias = Callable[[EncodingProgress], None]

_callback: ContextVar[ProgressCallback | None] = ContextVar("encoding_progress", default=None)


@contextmanager
def reporting_to(callback: ProgressCallback) -> Iterator[None]:
    """Have what is encoded in this block report its progress to `callback`, about ten times a second at most."""
    token = _callback.set(callback)
    try:
        yield
    finally:
        _callback.reset(token)


def report(progress: EncodingProgress) -> None:
    """Hand the progress to the callback of the block, if there is one."""
    callback = _callback.get()
    if callback is not None:
        callback(progress)
