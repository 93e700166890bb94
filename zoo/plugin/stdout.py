"""Standard output belongs to the commands of the zoo: what the code of others prints goes to standard error."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

_STDOUT, _STDERR = 1, 2


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send to stderr what is printed within, by Python, by native code or by a child process, e.g. a compiler.

    ``sys.stdout`` and file descriptor 1 are redirected, each for itself: a test or a notebook may have replaced the
    first. Where a descriptor is closed, only ``sys.stdout`` is.
    """
    with redirect_stdout(sys.stderr), _descriptor_to_stderr():
        yield


@contextmanager
def _descriptor_to_stderr() -> Iterator[None]:
    _flush()  # what was printed before must not follow
    try:
        kept = os.dup(_STDOUT)
    except OSError:  # stdout is closed
        yield
        return
    try:
        with contextlib.suppress(OSError):  # stderr is closed
            os.dup2(_STDERR, _STDOUT)
        yield
    finally:
        _flush()
        os.dup2(kept, _STDOUT)
        os.close(kept)


def _flush() -> None:
    """Empty the buffers of Python and of the C library, which fill the descriptor that there is when they are full."""
    if sys.__stdout__ is not None:
        with contextlib.suppress(OSError, ValueError):  # it has no reader, or it is closed
            sys.__stdout__.flush()
    with contextlib.suppress(OSError, AttributeError, TypeError):  # a C library that cannot be found this way
        ctypes.CDLL(None).fflush(None)
