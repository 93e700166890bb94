"""Files, folders, and what is kept in a folder, as candidates."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from zoo.cli.completing.candidate import Candidate, Source, make_candidate


def files(*suffixes: str) -> Source:
    """Files with one of these suffixes, or any, and the folders on the way to them."""
    return lambda value, *_: _paths(value, lambda path: not suffixes or path.suffix in suffixes)


def folders(value: str, *_: object) -> Iterator[Candidate]:
    """Folders, each of which may be followed by another."""
    return _paths(value, lambda _path: False)


def _paths(value: str, fits: Callable[[Path], bool]) -> Iterator[Candidate]:
    stem = value[: value.rfind(os.sep) + 1]
    typed = value[len(stem) :]
    for path in sorted(Path(stem or ".").expanduser().iterdir()):
        if (path.name.startswith(".") and not typed.startswith(".")) or "\n" in path.name:
            continue
        if path.is_dir():
            yield make_candidate(f"{path.name}{os.sep}", stem=stem, ends=False)
        elif fits(path):
            yield make_candidate(path.name, stem=stem)


def kept_in(root: str, sign: str, value: str, *_: object) -> Iterator[Candidate]:
    """``latest``, and the folders in `root` that have the file by which one is known; any folder for another path."""
    names = sorted((path.parent.name for path in Path(root).glob(f"*/{sign}")), reverse=True)
    stem = f"{root}{os.sep}"
    yield from [make_candidate("latest", f"the one in {stem} that was started last")] * bool(names)
    yield from (make_candidate(name, stem=stem) for name in names if "\n" not in name)
    if value and not value.startswith(stem) and not stem.startswith(value):
        yield from folders(value)
