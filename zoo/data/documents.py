"""Where one document of a text ends and the next starts."""

from typing import Literal, TypeAlias

Documents: TypeAlias = Literal["joined", "separate"]
"""Whether the files of a corpus are one text, or documents that do not see each other."""

SEPARATOR = "\0"
"""The last character of a document that is followed by another. No text file has it, and it is a token of its own."""

_BETWEEN: dict[Documents, str] = {"joined": "\n", "separate": SEPARATOR}


def between(documents: Documents) -> str:
    """What stands between two files of a corpus."""
    return _BETWEEN[documents]
