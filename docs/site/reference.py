"""The reference of `zoo` and `zoo.testing` from Python: signatures and docstrings."""

import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from links import Site
from prose import code, docstring

import zoo
import zoo.testing

MAX_LINE = 88


def add_reference(site: Site) -> None:
    """Add the page."""
    parts = [
        "# Reference",
        "What may be imported from `zoo` and `zoo.testing`. [Use from Python](api.md) shows it at work.",
        *(part for module in (zoo, zoo.testing) for part in _module(module)),
    ]
    site.add("reference", "\n\n".join(parts) + "\n")


def _module(module: ModuleType) -> Iterator[str]:
    yield f"## {module.__name__}"
    for name in sorted(module.__all__, key=str.lower):
        value = getattr(module, name)
        if callable(value):
            yield f"### {module.__name__}.{name}"
            yield from _callable(name, value)


def _callable(name: str, value: Any) -> Iterator[str]:
    if (signature := _signature(name, value)) is not None:
        yield code(("class " if inspect.isclass(value) else "") + signature, "python")
    yield docstring(inspect.getdoc(value) or "")
    for method, function in vars(value).items() if inspect.isclass(value) else ():
        plain = function.__func__ if isinstance(function, classmethod | staticmethod) else function
        if not method.startswith("_") and inspect.isfunction(plain) and plain.__doc__:
            yield f"#### {name}.{method}"
            yield code(_signature(method, plain) or f"{method}(…)", "python")
            yield docstring(inspect.getdoc(plain) or "")


def _signature(name: str, value: Any) -> str | None:
    """As it would be written: on one line where it fits, else a parameter a line."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return None
    line = f"{name}{signature}"
    if len(line) <= MAX_LINE:
        return line
    parameters, named = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not named:
            parameters.append("*")
            named = True
        named = named or parameter.kind is inspect.Parameter.VAR_POSITIONAL
        parameters.append(str(parameter))
    end = "" if signature.return_annotation is inspect.Signature.empty else f" -> {_written(signature)}"
    return f"{name}(\n" + "".join(f"    {parameter},\n" for parameter in parameters) + f"){end}"


def _written(signature: inspect.Signature) -> str:
    return inspect.formatannotation(signature.return_annotation)
