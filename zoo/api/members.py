"""Classes in the place of names: a class of the session gets a name, which runs record and other cells can use."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from zoo.plugin.catalogue import Catalogue
from zoo.plugin.classes import ClassNames, Layers
from zoo.plugin.files import forget_changed_file, load_file, passing_files
from zoo.plugin.kinds import CHANNEL_MIXER, CORPUS, MIXER, OPTIMIZER, RESIDUAL, TASK, TOKENIZER, Kind
from zoo.plugin.local import LOCAL, files_in, register, with_file_names
from zoo.plugin.members import kind_of_class
from zoo.plugin.pattern import Pattern
from zoo.plugin.registry import adding, get_registry

_KINDS: Mapping[str, tuple[Kind, ...]] = {
    "channel_mixer": (CHANNEL_MIXER, MIXER),
    "residual": (RESIDUAL,),
    "data": (TASK, CORPUS),
    "tokenizer": (TOKENIZER,),
    "optimizer": (OPTIMIZER,),
}
"""The settings that name a member, each with the kinds of which it may be."""


def pattern_of(layers: Layers) -> str:
    """Layers as a pattern, in which each class goes by the name under which it is registered in this process.

    A class that is not registered is: ``MyMixer`` as ``my-mixer``. A class that a cell of a notebook has defined anew
    takes the place of the one before.

    Args:
        layers: a pattern, a class, a class with options (``functools.partial``), or a list of them.

    Raises:
        UsageError: something else, or options that a pattern cannot write; a file or a class of it that is not there.
        PatternError: a pattern that cannot be read.
    """
    if isinstance(layers, str):
        _forget_changed_files(layers)
        return with_file_names(layers)
    if isinstance(layers, Pattern):
        return str(layers)
    for part in _listed(layers):
        _make_known(part)
    parts = [pattern_of(part) if isinstance(part, str) else part for part in _listed(layers)]
    return str(ClassNames(get_registry()).pattern(parts))


def settings_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run in which classes go by their names, as in `pattern_of`.

    Raises:
        UsageError: as `pattern_of`.
    """
    return {name: _setting(name, value) for name, value in settings.items()}


def member_of(member: object) -> tuple[str | type[Any], dict[str, Any]]:
    """A name or a class, and the options that come with it: of ``partial(Mine, factor=2)`` they are ``factor``.

    A list of layers becomes a pattern.
    """
    if isinstance(member, partial) and isinstance(member.func, type) and not member.args:
        return member.func, dict(member.keywords)
    if isinstance(member, str):
        _forget_changed_files(member)
        return member, {}
    return (member, {}) if isinstance(member, type) else (pattern_of(member), {})  # type: ignore[arg-type]


def patterns_of(patterns: Layers | Sequence[Layers]) -> list[Any]:
    """What is to be compared; one pattern or class stands for a list of one."""
    return list(patterns) if isinstance(patterns, list | tuple) else [patterns]


def text_of(data: object) -> str:
    """The name of a text or task; a class goes by the name under which it is registered."""
    return str(_setting("data", data))


def is_of_this_process(plugins: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether any of what `zoo.train.plugins.plugins_of` records is a class that only this process knows."""
    return any(plugin["distribution"] == LOCAL for plugin in plugins.values())


@contextmanager
def files_of(patterns: Sequence[Layers]) -> Iterator[None]:
    """Have the files that patterns name as plugins, here and in other processes, whatever was registered here.

    Classes among them are registered for good.
    """
    parts = [part for pattern in patterns for part in _listed(pattern)]
    for part in parts:
        _make_known(part)
    files = [path for part in parts if isinstance(part, str) for path in files_in(part)]
    for path in files:
        forget_changed_file(path)
    with passing_files(files), adding(map(load_file, files)):
        yield


@contextmanager
def threads_kept() -> Iterator[None]:
    """Torch's threads belong to the session, which goes on."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _listed(layers: Layers) -> Sequence[Any]:
    return layers if isinstance(layers, list | tuple) else [layers]


def _setting(name: str, value: object) -> object:
    if name not in _KINDS or value is None:
        return value
    if isinstance(value, str):
        _forget_changed_files(value)
        return with_file_names(value) if name == "channel_mixer" else value
    _make_known(value)
    return str(ClassNames(get_registry()).call(value, *_KINDS[name]))


def _make_known(member: object) -> None:
    """Register a class, unless it is; anything else is left to whoever reads it."""
    cls = member.func if isinstance(member, partial) else member
    kind = kind_of_class(cls)
    if kind is None or not isinstance(cls, type):
        return
    catalogue: Catalogue[Any] = get_registry()[kind]
    if any(entry.cls is cls for entry in catalogue.entries):
        return
    earlier = [entry for entry in catalogue.entries if entry.origin.distribution == LOCAL and _alike(entry.cls, cls)]
    name = earlier[0].name if earlier else ClassNames(get_registry()).call(cls, kind).name
    register(name, cls, kind=kind.name)


def _alike(one: type[Any], other: type[Any]) -> bool:
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def _forget_changed_files(pattern: str) -> None:
    for path in files_in(pattern):
        forget_changed_file(Path(path))
