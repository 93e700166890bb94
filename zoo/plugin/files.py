"""A Python file as a plugin, without packaging: it is run, and gives what its hooks or its classes are."""

import hashlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from zoo.errors import PluginError, UsageError
from zoo.plugin import hookspecs, kinds
from zoo.plugin.catalogue import Entry, Origin, Plugin
from zoo.plugin.isolation import isolated
from zoo.plugin.members import check_name, kind_of_class, members_of
from zoo.plugin.names import GROUP
from zoo.plugin.source_code import file_sha256

ENVIRONMENT = "ZOO_PLUGIN_FILES"
"""Paths of files that every command loads, with the separator of PATH between them."""

_LOADED: dict[Path, Plugin] = {}

_CHECKSUMS: dict[Path, str] = {}
"""Of each file as it was when it was run."""

_RUNNING: dict[Path, list[Entry[Any]]] = {}
"""What each file that is being run has handed to `zoo.register`, the innermost file last."""


def files_of(environ: Mapping[str, str]) -> list[Path]:
    """The files that `ENVIRONMENT` names, each once."""
    return list(dict.fromkeys(Path(text) for text in environ.get(ENVIRONMENT, "").split(os.pathsep) if text))


@contextmanager
def passing_files(paths: Iterable[Path]) -> Iterator[None]:
    """Have the processes that are started meanwhile load these files, too."""
    before = os.environ.get(ENVIRONMENT)
    given = [str(path.expanduser().absolute()) for path in (*files_of(os.environ), *paths)]
    os.environ[ENVIRONMENT] = os.pathsep.join(dict.fromkeys(given))
    try:
        yield
    finally:
        del os.environ[ENVIRONMENT]
        os.environ |= {} if before is None else {ENVIRONMENT: before}


def load_file(path: Path) -> Plugin:
    """Run a file, unless that was done before, and find what it gives.

    That is what its hooks return and what it hands to `zoo.register`; or else its classes, each under its own name in
    lower case, ``MyMixer`` as ``my-mixer``.

    Raises:
        UsageError: there is no such file, it fails, or it gives nothing.
    """
    path = path.expanduser().absolute()
    if path not in _LOADED:
        checksum = file_sha256(path) if path.is_file() else ""
        _LOADED[path], _CHECKSUMS[path] = _loaded(path), checksum
    return _LOADED[path]


def is_loading() -> bool:
    """Whether a file is being run as a plugin."""
    return bool(_RUNNING)


def add_to_file(entry: Entry[Any]) -> None:
    """Count a class among what the file gives that is being run."""
    list(_RUNNING.values())[-1].append(entry)


def forget_changed_file(path: Path) -> None:
    """Run a file anew when it is asked for again, if it was edited since: a session outlives its files."""
    path = path.expanduser().absolute()
    if path in _LOADED and (not path.is_file() or file_sha256(path) != _CHECKSUMS.get(path)):
        del _LOADED[path]


def forget_files() -> None:
    """Run every file anew when it is asked for again."""
    _LOADED.clear()


def class_name(cls: type[Any]) -> str:
    """The name of a class as a pattern spells it: ``MyMixer`` is ``my-mixer``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", cls.__name__)
    return words.replace("_", "-").lower().strip("-")


def _loaded(path: Path) -> Plugin:
    if not path.is_file():
        raise UsageError(f"there is no plugin file {path}")
    if path in _RUNNING:  # it asks for a member, and the registry for what it gives
        raise UsageError("a plugin file uses members while it is loaded: put that behind if __name__ == '__main__'")
    _RUNNING[path] = []
    try:
        with isolated() as changes:
            module = _run(path)
    finally:
        registered = _RUNNING.pop(path)
    origin = Origin(path.stem, "", path.name, str(path), is_installed=False)
    try:
        members = tuple(_members(module, origin, registered))
    except PluginError as error:
        raise UsageError(f"{path}: {error}") from None
    if not members:
        bases = " or ".join((", ".join(kind.base_name for kind in kinds.KINDS[:-1]), kinds.KINDS[-1].base_name))
        raise UsageError(f"{path} gives nothing: write a hook, e.g. zoo_mixers(), or a subclass of {bases}")
    return Plugin(origin, members, changes=tuple(changes))


def _members(module: ModuleType, origin: Origin, registered: Iterable[Entry[Any]]) -> Iterator[Entry[Any]]:
    """What a file registered and what its hooks give; without either, its classes."""
    by_name = {(entry.kind.name, entry.name): replace(entry, origin=origin) for entry in registered}
    yield from by_name.values()
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(" ".join(str(error).split())) from None
    if manager.get_hookcallers(module):
        for kind in kinds.KINDS:
            for implementation in getattr(manager.hook, kind.hook).get_hookimpls():
                yield from members_of(implementation.function(), origin, kind)
        return
    if by_name:
        return
    for name, value in vars(module).items():
        own = kind_of_class(value) if getattr(value, "__module__", None) == module.__name__ else None
        if own is not None and not name.startswith("_"):
            yield Entry(check_name(class_name(value), own), value, origin, own)


def _run(path: Path) -> ModuleType:
    # Two files of the same name in different folders are two modules.
    name = f"zoo_file_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:  # what lies beside it can be imported, as when Python runs it
        sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit or pytest's Skipped too
        sys.modules.pop(name, None)
        frames = traceback.extract_tb(error.__traceback__)
        last = [frame for frame in frames if frame.filename == str(path)]
        line = f" in line {last[-1].lineno}" if last else ""
        raise UsageError(f"{path} fails{line}: {' '.join(f'{type(error).__name__}: {error}'.split())}") from error
    return module
