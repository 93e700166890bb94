"""The corpus that every machine with Python has: the source of the standard library."""

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from zoo.corpus import Corpus
from zoo.data.files import list_files, read_texts
from zoo.errors import UsageError

_TESTS = {"test", "tests", "idle_test"}
"""Tests are more than half of the library and repeat themselves."""

_TABLES = {"encodings", "pydoc_data", "stringprep.py", "html/entities.py"}
"""Generated tables of characters and topics, which read like no program."""

_APART = {"distutils", "idlelib", "lib2to3", "tkinter", "turtle.py", "turtledemo"}
"""What some versions lack and some systems install apart from Python."""

_LEFT_OUT = {PurePosixPath(path) for path in _TABLES | _APART}


class PythonStdlib(Corpus):
    """The standard library of the running Python, without tests, tables and packages that not every machine has.

    About 7.6 MB in 390 files, nearly all ASCII; each version of Python has its own text.
    """

    def documents(self) -> Iterator[str]:
        """The files, ordered by path.

        Raises:
            UsageError: this Python came without the source.
        """
        folder = Path(sysconfig.get_path("stdlib"))
        paths = list_files(folder, _is_wanted) if folder.is_dir() else []
        texts = read_texts(folder, (path for path in paths if path.suffix == ".py"))
        first = next(texts, None)
        if first is None:
            raise UsageError(f"this Python has no source of its standard library in {str(folder)!r}: pass `data`=PATH")
        yield first
        yield from texts


def _is_wanted(path: PurePosixPath) -> bool:
    module = path.parts[0].removesuffix(".py")
    is_own = module in sys.stdlib_module_names  # not an installed package, nor what a distributor added
    return is_own and path.name not in _TESTS and path not in _LEFT_OUT
