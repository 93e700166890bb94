"""The source code that a class depends on, as a checksum: so a changed mixer is noticed under an unchanged version."""

import ast
import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

_HOST = "zoo"

_TORCH = "torch"

_COMPUTED: WeakKeyDictionary[type[Any], str | None] = WeakKeyDictionary()


def source_sha256(cls: type[Any]) -> str | None:
    """The sha256 of the module of a class and, transitively, of the modules that it imports from its own package.

    The package is the top-level one, ``acme`` for ``acme.mixers.mean``: a change of what mixers share is a change of
    each mixer that imports it, and a change of another mixer is not. In ``zoo`` it is the sub-package, ``zoo.tasks``;
    the version of the zoo covers the rest. A class of torch counts by its module alone, since runs save the version of
    torch. An ``__init__.py`` counts where something is imported from it by name. Modules that are imported by a
    computed name do not count.

    It is computed once for a class, and so says what was imported, though a file may be edited later in the process.

    Returns:
        64 hexadecimal digits; None for a class without a source file, e.g. of a notebook.
    """
    if cls not in _COMPUTED:
        _COMPUTED[cls] = _computed(cls)
    return _COMPUTED[cls]


def source_file(cls: type[Any]) -> str | None:
    """The absolute path of the file in which a class is defined; None for a class of a notebook or a prompt."""
    file = _file(cls.__module__)
    if file is None:
        return None
    text = file.read_text(encoding="utf-8", errors="replace")
    # what is typed after `python -i script.py` belongs to the module of the script, too
    return str(file.absolute()) if re.search(rf"^\s*class {re.escape(cls.__name__)}\b", text, re.MULTILINE) else None


def file_sha256(path: str | Path) -> str:
    """The sha256 of a file as it lies there now, with the ends of its lines as on any system."""
    return hashlib.sha256(Path(path).read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def _computed(cls: type[Any]) -> str | None:
    package = cls.__module__.partition(".")[0]
    if package == _HOST:
        package = cls.__module__.rpartition(".")[0]
    sources, pending = dict[str, bytes](), [cls.__module__]
    while pending:
        name = pending.pop()
        if name in sources or not f"{name}.".startswith(f"{package}."):
            continue
        file = _file(name)
        if file is None:
            continue
        sources[name] = file.read_bytes().replace(b"\r\n", b"\n")
        if package != _TORCH:
            pending += _imported(sources[name], name if file.name == "__init__.py" else name.rpartition(".")[0])
    if cls.__module__ not in sources:
        return None
    digest = hashlib.sha256()
    for name, source in sorted(sources.items()):
        digest.update(f"{name} {len(source)}\n".encode() + source)
    return digest.hexdigest()


def _file(name: str) -> Path | None:
    """The source file of a module, which is not imported for it."""
    known = getattr(sys.modules.get(name), "__file__", None)
    if known is not None:
        return Path(known) if known.endswith(".py") and Path(known).is_file() else None
    parent, _, leaf = name.rpartition(".")
    for folder in _folders(parent):
        for path in (folder / f"{leaf}.py", folder / leaf / "__init__.py"):
            if path.is_file():
                return path
    return None


def _folders(package: str) -> list[Path]:
    """Where the modules of a package are."""
    loaded = getattr(sys.modules.get(package), "__path__", None)
    if loaded is not None:
        return [Path(folder) for folder in loaded]
    file = _file(package) if package else None
    return [file.parent] if file is not None and file.name == "__init__.py" else []


def _imported(source: bytes, package: str) -> Iterator[str]:
    """The modules that a module of a package imports anywhere in its code."""
    try:
        tree = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):  # the file was broken after it had been imported
        return
    for node in tree:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield inner if _file(inner) is not None else module
