"""The standard streams, made fit for whatever a shell hands over: closed, without a reader, or of few characters."""

import codecs
import io
import os
import sys
from typing import TextIO


def prepare_streams() -> None:
    """Make stdout and stderr usable. A closed stdin stays None, for whoever reads from it."""
    _occupy_closed_descriptors()
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = _without_reader(sys.stderr) if sys.stderr is not None else _nowhere()
    tolerate_narrow_encodings()


def tolerate_narrow_encodings() -> None:
    """Show what a terminal of few characters cannot print as ``?`` rather than fail.

    Bytes of a path that are not UTF-8 are shown as JSON and Python write them, ``\\udce9``.
    """
    codecs.register_error("zoo", _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="zoo")


def _replace(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    refused = error.object[error.start : error.end]
    return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else "?" for c in refused), error.end


def _occupy_closed_descriptors() -> None:
    """Have descriptors 0 to 2 lead nowhere where they are closed: the next file that is opened would become stderr."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free one, which is this


def _nowhere() -> io.TextIOWrapper:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - it lives as long as the process


def _without_reader(stream: TextIO) -> TextIO:
    """A stream like it that accepts all that is written after its reader has gone: a run outlives its messages."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    raw = _Unread(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors, newline=None, line_buffering=True
    )


class _Unread(io.FileIO):
    """Loses what cannot be written, e.g. to a pipe whose reader has gone, or to a full disk."""

    def write(self, data: "io.ReadableBuffer") -> int:  # type: ignore[name-defined]
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes
