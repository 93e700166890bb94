"""A mixer class from a file, to be checked before it is packaged."""

import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from zoo.contract import TokenMixer
from zoo.errors import UsageError
from zoo.plugin.isolation import isolated
from zoo.plugin.options import did_you_mean


def is_file(mixer: str) -> bool:
    """Whether it names a class in a file, ``./mine.py:Mine`` or ``mine.py``, rather than a mixer or a pattern."""
    return mixer.partition(":")[0].endswith(".py") or ".py:" in mixer


def load_class(place: str, notice: Callable[[str], object] = lambda _text: None) -> type[TokenMixer]:
    """Run a file and take a mixer class from it.

    Args:
        place: ``path/to/file.py:Class``; without the class, the only one that the file defines.
        notice: hears that the file changed global state, which was restored.

    Raises:
        UsageError: no such file or class, a class that is no `TokenMixer`, or a file that fails when it is run.
    """
    name, colon, wanted = place.rpartition(":")
    if not colon or not name.endswith(".py"):
        name, wanted = place, ""
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"there is no file {name}: give path/to/file.py:Class")
    with isolated() as changes:
        module = _run(path)
    if changes:
        notice(f"{name} changed global state when it was run, now restored: {', '.join(changes)}")
    defined = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, TokenMixer) and value.__module__ == module.__name__
    }
    if wanted in defined:
        return defined[wanted]
    names = ", ".join(defined) or "none; is it a subclass of zoo.TokenMixer?"
    if wanted:
        raise UsageError(f"{name} has no mixer class {wanted!r}{did_you_mean(wanted, defined)}; there are: {names}")
    if len(defined) != 1:
        raise UsageError(f"which mixer of {name}? give {name}:Class; there are: {names}")
    return next(iter(defined.values()))


def _run(path: Path) -> ModuleType:
    name = f"zoo_check_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent.resolve()) not in sys.path:  # what lies beside it can be imported, as when Python runs it
        sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit or pytest's Skipped too
        del sys.modules[name]
        frames = traceback.extract_tb(error.__traceback__)
        last = [frame for frame in frames if frame.filename in {str(path), str(path.absolute())}]
        line = f" in line {last[-1].lineno}" if last else ""
        raise UsageError(f"{path} fails{line}: {' '.join(f'{type(error).__name__}: {error}'.split())}") from error
    return module
