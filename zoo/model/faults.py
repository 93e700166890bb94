"""Errors in a part of a model, in a line: which part, where in the model, whose it is, and which line of its code.

Nothing is kept for it while a model runs. All of it is found in the traceback, after the fact: the frame whose ``self``
is a part, and the innermost one that lies in the part's own file.
"""

import inspect
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple, TypeAlias, cast

from torch import nn

from zoo.contract import TokenMixer
from zoo.errors import PluginError, WriteError, ZooError, is_out_of_memory
from zoo.model.backbone import Layer
from zoo.model.channel import CHANNEL_MIXERS
from zoo.model.parts import Part, Stack, parts_of
from zoo.plugin.registry import get_registry

LONGEST = 300
"""Characters of an error's own text that are repeated; torch's may fill a screen."""

_Frames: TypeAlias = Sequence[tuple[FrameType, int]]
"""Frames with the line at which each was left, the outermost first."""


class Author(NamedTuple):
    """The name under which the class of a part is registered, and the distribution that gives it."""

    name: str
    distribution: str
    version: str = ""

    @property
    def origin(self) -> str:
        """The distribution with its version."""
        return f"{self.distribution} {self.version}".rstrip()


@contextmanager
def explaining() -> Iterator[None]:
    """Turn an error in a part of a model into one that names the part.

    Raises:
        PluginError: of the part; any other error is left as it is.
    """
    try:
        yield
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        raise explained from error


def describe_error(error: BaseException) -> str:
    """What went wrong, in a line, whoever says so."""
    if is_out_of_memory(error):
        return "out of memory"
    error = explain(error) or error
    if isinstance(error, ZooError):
        return str(error).splitlines()[0]  # below it may stand the pattern, with a caret
    return summarize_error(error)


def explain(error: BaseException) -> PluginError | None:
    """The error of a part of a model as one that names the part; None for any other.

    Args:
        error: as it was caught, with its traceback.
    """
    if is_out_of_memory(error) or (isinstance(error, ZooError) and not isinstance(error, WriteError)):
        return None
    frames = list(traceback.walk_tb(error.__traceback__))
    inner = _inside_a_model(frames)
    parts = _parts_in(frames)
    if isinstance(error, WriteError):
        module = cast(nn.Module, error.part)
        where = _line(inner, type(module), error.method)
        return PluginError(f"{_who(_parts_named(parts, module))}: {error.problem}, in {where}")
    running = _running(inner, parts)
    if running is None:
        return _explain_by_package(error, inner, parts)
    where = _line(inner, type(running))
    return PluginError(f"{_who(_parts_named(parts, running))}: {summarize_error(error)}, in {where}")


def describe_part(part: Part) -> str:
    """A part, with its place in the model and who made it."""
    return _who([part])


def definition(module: nn.Module) -> str:
    """Where `forward` of a part begins, ``file:line``."""
    return _line([], type(module))


def author_of(part: Part) -> Author:
    """Who made a part."""
    cls = type(part.module)
    entries = [entry for entry in get_registry().mixers.list() if entry.cls is cls]
    if entries:
        entry = next((entry for entry in entries if part.label.startswith(entry.name)), entries[0])
        return Author(entry.name, entry.origin.distribution, entry.origin.version)
    channel = next((name for name, known in CHANNEL_MIXERS.items() if known is cls), None)
    return Author(channel or cls.__name__, f"the module {cls.__module__}")


def describe_cause(error: BaseException, cls: type) -> str:
    """An error in a line, with the innermost line of a class's own file that it came through, if there is one."""
    place = raised_at(error, cls)
    return summarize_error(error) + (f", in {place}" if place else "")


def raised_at(error: BaseException, cls: type) -> str | None:
    """The innermost line of a class's own file that an error came through, ``file:line``; None if there is none."""
    return _own_line(list(traceback.walk_tb(error.__traceback__)), cls)


def summarize_error(error: BaseException) -> str:
    """The kind and the text of an error in one line, which is cut where it is long."""
    text = " ".join(str(error).split()) or "without a message"
    return f"{type(error).__name__}: {text[:LONGEST]}{'…' if len(text) > LONGEST else ''}"


def _who(parts: Sequence[Part]) -> str:
    """Parts of one class; more than one where it cannot be told which of them it was."""
    author = author_of(parts[0])
    name, origin = author.name, author.origin
    if len({part.name for part in parts}) == 1 and parts[0].layer >= 0:
        return f"{name} (layer {parts[0].layer}, part {parts[0].name}, from {origin})"
    layers = ", ".join(str(layer) for layer in sorted({part.layer for part in parts}) if layer >= 0)
    return f"{name} (layers {layers}, from {origin})" if layers else f"{name} (from {origin})"


def _inside_a_model(frames: _Frames) -> _Frames:
    """The frames from the first module's on, or from the start of the backward pass."""
    for index, (frame, _) in enumerate(frames):
        name = str(frame.f_globals.get("__name__"))
        if isinstance(frame.f_locals.get("self"), nn.Module) or name.startswith(("torch._tensor", "torch.autograd")):
            return frames[index:]
    return []


def _parts_in(frames: _Frames) -> list[Part]:
    """The parts of every model that some frame knows, each once."""
    found: dict[int, Part] = {}
    for frame, _ in frames:
        values = [*frame.f_locals.values(), getattr(frame.f_locals.get("self"), "__dict__", {}).get("model")]
        for stack in filter(_is_stack, values):
            found |= {id(part.module): part for part in parts_of(cast(Stack, stack))}
    return list(found.values())


def _is_stack(value: object) -> bool:
    layers = getattr(value, "layers", None) if isinstance(value, nn.Module) else None
    return isinstance(layers, nn.ModuleList) and all(isinstance(layer, Layer) for layer in layers)


def _parts_named(parts: Sequence[Part], module: nn.Module) -> list[Part]:
    """The part that a module is; one of no layer where no model is known."""
    return [part for part in parts if part.module is module] or [Part(-1, "", "token", module)]


def _running(inner: _Frames, parts: Sequence[Part]) -> nn.Module | None:
    """The part that ran when an error was raised, or a mixer that runs by itself."""
    modules = [module for frame, _ in inner if isinstance(module := frame.f_locals.get("self"), nn.Module)]
    known = {id(part.module) for part in parts}
    part = next((module for module in modules if id(module) in known), None)
    alone = (module for module in modules if isinstance(module, TokenMixer) and _package(type(module)) != "zoo")
    return part or next(alone, None)


def _explain_by_package(error: BaseException, inner: _Frames, parts: Sequence[Part]) -> PluginError | None:
    """By whose package the innermost frame belongs to: in a backward pass there is no module whose turn it is."""
    for frame, line in reversed(inner):
        module = str(frame.f_globals.get("__name__"))
        package = module.partition(".")[0]
        made = [part for part in parts if _package(type(part.module)) == package and package not in ("zoo", "torch")]
        if made:
            own = [part for part in made if type(part.module).__module__ == module] or made
            kinds = dict.fromkeys(type(part.module) for part in own)
            who = " or ".join(_who([part for part in own if type(part.module) is kind]) for kind in kinds)
            return PluginError(f"{who}: {summarize_error(error)}, in {frame.f_code.co_filename}:{line}")
    return None


def _package(cls: type) -> str:
    return cls.__module__.partition(".")[0]


def _line(inner: _Frames, cls: type, method: str = "forward") -> str:
    """The innermost line of the class's own file; where there is none, that where its method begins."""
    if own := _own_line(inner, cls):
        return own
    code = getattr(inspect.unwrap(getattr(cls, method)), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else cls.__module__


def _own_line(frames: _Frames, cls: type) -> str | None:
    files = {os.path.realpath(file) for file in map(_file, _own_classes(cls)) if file}
    for frame, line in reversed(frames):
        if os.path.realpath(frame.f_code.co_filename) in files:
            return f"{frame.f_code.co_filename}:{line}"
    return None


def _own_classes(cls: type) -> list[type]:
    """The class, and those that it inherits from, but for the host's and torch's."""
    return [cls, *(base for base in cls.__mro__[1:] if _package(base) not in ("zoo", "torch", "builtins"))]


def _file(cls: type) -> str | None:
    try:
        return inspect.getsourcefile(cls)
    except (OSError, TypeError):  # a class that was made on the fly
        return None
