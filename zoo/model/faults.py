"""Errors in a part of a model, in a line: which part, where in the model, whose it is, and which line of its code.

Nothing is kept for it while a model runs. All of it is found in the traceback, after the fact: the frame whose ``self``
is a part, and the innermost one that lies in the part's own file.
"""

import inspect
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple, cast

from torch import nn

from zoo.contract import TokenMixer
from zoo.errors import PluginError, WriteError, ZooError, is_out_of_memory
from zoo.model.parts import Part, parts_of
from zoo.model.stack import Stack
from zoo.model.tracebacks import Frames, own_line, package_of, summarize_error
from zoo.plugin.kinds import CHANNEL_MIXER, MIXER, RESIDUAL
from zoo.plugin.registry import get_registry
from zoo.residual import Residual


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
    """What went wrong, in a line."""
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
        return _explain_bypackage_of(error, inner, parts)
    where = _line(inner, type(running))
    return PluginError(f"{_who(_parts_named(parts, running))}: {summarize_error(error)}, in {where}")


def describe_part(*places: Part) -> str:
    """A part, with its place in the model, or its places, and who made it."""
    return _who(places)


def definition(module: nn.Module) -> str:
    """Where `forward` of a part starts, ``file:line``."""
    return _line([], type(module))


def author_of(part: Part) -> Author:
    """Who made a part."""
    cls = type(part.module)
    registry = get_registry()
    entries = [
        entry for kind in (MIXER, CHANNEL_MIXER, RESIDUAL) for entry in registry[kind].list() if entry.cls is cls
    ]
    if entries:
        entry = next((entry for entry in entries if part.label.startswith(entry.name)), entries[0])
        return Author(entry.name, entry.origin.distribution, entry.origin.version)
    return Author(cls.__name__, f"the module {cls.__module__}")


def _who(parts: Sequence[Part]) -> str:
    """Parts of one class; more than one where it is not known which of them, or which place of one, it was."""
    author = author_of(parts[0])
    name, origin = author.name, author.origin
    if parts[0].kind == "residual":
        return f"the residual scheme {name} (from {origin})"
    if len({part.name for part in parts}) == 1 and parts[0].layer >= 0:
        return f"{name} (layer {parts[0].layer}, part {parts[0].name}, from {origin})"
    layers = ", ".join(str(layer) for layer in sorted({part.layer for part in parts}) if layer >= 0)
    return f"{name} (layers {layers}, from {origin})" if layers else f"{name} (from {origin})"


def _inside_a_model(frames: Frames) -> Frames:
    """The frames from the first module's on, or from the start of the backward pass."""
    for index, (frame, _) in enumerate(frames):
        name = str(frame.f_globals.get("__name__"))
        if isinstance(frame.f_locals.get("self"), nn.Module) or name.startswith(("torch._tensor", "torch.autograd")):
            return frames[index:]
    return []


def _parts_in(frames: Frames) -> list[Part]:
    """The parts of every model that some frame knows, each once."""
    found: dict[tuple[int, str], Part] = {}
    running = {id(frame.f_locals.get("self")) for frame, _ in frames}
    for frame, _ in frames:
        values = [*frame.f_locals.values(), getattr(frame.f_locals.get("self"), "__dict__", {}).get("model")]
        for stack in values:
            if isinstance(stack, Stack):
                found |= {(id(part.module), part.name): part for part in _parts_of_running(stack, running)}
    return list(found.values())


def _parts_of_running(stack: Stack, running: set[int]) -> list[Part]:
    """The parts of a model; of a module that has several places those in the layers that run, if it has any there."""
    layers = {index for index, layer in enumerate(stack.layers) if id(layer) in running}
    parts = parts_of(stack)
    in_them = {id(part.module) for part in parts if part.layer in layers}
    return [part for part in parts if part.layer in layers or id(part.module) not in in_them]


def _parts_named(parts: Sequence[Part], module: nn.Module) -> list[Part]:
    """The part that a module is; one of no layer where no model is known, and for a residual scheme."""
    kind: Literal["residual", "token"] = "residual" if isinstance(module, Residual) else "token"
    return [part for part in parts if part.module is module] or [Part(-1, "", kind, module)]


def _running(inner: Frames, parts: Sequence[Part]) -> nn.Module | None:
    """The part, or the residual scheme, that ran when an error was raised, or a mixer that runs by itself."""
    modules = [module for frame, _ in inner if isinstance(module := frame.f_locals.get("self"), nn.Module)]
    known = {id(part.module) for part in parts}
    part = next((module for module in modules if id(module) in known or isinstance(module, Residual)), None)
    alone = (module for module in modules if isinstance(module, TokenMixer) and package_of(type(module)) != "zoo")
    return part or next(alone, None)


def _explain_bypackage_of(error: BaseException, inner: Frames, parts: Sequence[Part]) -> PluginError | None:
    """By whose package the innermost frame belongs to: in a backward pass there is no module whose turn it is."""
    for frame, line in reversed(inner):
        module = str(frame.f_globals.get("__name__"))
        package = module.partition(".")[0]
        made = [part for part in parts if package_of(type(part.module)) == package and package not in ("zoo", "torch")]
        if made:
            own = [part for part in made if type(part.module).__module__ == module] or made
            kinds = dict.fromkeys(type(part.module) for part in own)
            who = " or ".join(_who([part for part in own if type(part.module) is kind]) for kind in kinds)
            return PluginError(f"{who}: {summarize_error(error)}, in {frame.f_code.co_filename}:{line}")
    return None


def _line(inner: Frames, cls: type, method: str = "forward") -> str:
    """The innermost line of the class's own file; where there is none, that where its method starts."""
    if own := own_line(inner, cls):
        return own
    code = getattr(inspect.unwrap(getattr(cls, method)), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else cls.__module__
