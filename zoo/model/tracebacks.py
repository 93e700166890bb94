"""What a traceback says of an error: the error in a line, and the line of a class's own code that it came through."""

import inspect
import os
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import TypeAlias

MAX_LENGTH = 300
"""Characters of an error's own text that are repeated; torch's may fill a screen."""

Frames: TypeAlias = Sequence[tuple[FrameType, int]]
"""Frames with the line at which each was left, the outermost first."""


def describe_cause(error: BaseException, cls: type) -> str:
    """An error in a line, with the innermost line of a class's own file that it came through, if there is one."""
    place = raised_at(error, cls)
    return summarize_error(error) + (f", in {place}" if place else "")


def raised_at(error: BaseException, cls: type) -> str | None:
    """The innermost line of a class's own file that an error came through, ``file:line``; None if there is none."""
    return own_line(list(traceback.walk_tb(error.__traceback__)), cls)


def summarize_error(error: BaseException) -> str:
    """The kind and the text of an error in one line, which is cut where it is long."""
    text = " ".join(str(error).split()) or "without a message"
    return f"{type(error).__name__}: {text[:MAX_LENGTH]}{'…' if len(text) > MAX_LENGTH else ''}"


def own_line(frames: Frames, cls: type) -> str | None:
    """The innermost line of a class's own file among the frames, ``file:line``."""
    files = {os.path.realpath(file) for file in map(_file, _own_classes(cls)) if file}
    for frame, line in reversed(frames):
        if os.path.realpath(frame.f_code.co_filename) in files:
            return f"{frame.f_code.co_filename}:{line}"
    return None


def package_of(cls: type) -> str:
    """The top-level package in which a class is written."""
    return cls.__module__.partition(".")[0]


def _own_classes(cls: type) -> list[type]:
    """The class, and those that it inherits from, but for the host's and torch's."""
    return [cls, *(base for base in cls.__mro__[1:] if package_of(base) not in ("zoo", "torch", "builtins"))]


def _file(cls: type) -> str | None:
    try:
        return inspect.getsourcefile(cls)
    except (OSError, TypeError):  # a class that was made on the fly
        return None
