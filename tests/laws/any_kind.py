"""Controls for what every kind promises alike: options, documentation, paper."""

import inspect
import math
from typing import Any

import torch


def option_controls(base: type, method: str, *, paper: bool = True) -> list[tuple[str, type]]:
    """Members of a kind that are sound but for one option, or for what they say of themselves.

    Args:
        base: a sound member.
        method: of it, which using it calls.
        paper: whether its kind has the law of that name.
    """
    found = [
        ("options-round-trip", optioned(base, "TakesFunctionToo", Any, torch.relu)),
        ("options-round-trip", optioned(base, "TakesInfinityToo", float, math.inf)),
        ("options-refused", optioned(base, "AssertsItsOption", int, 1, refuse=_assert)),
        ("options-refused", optioned(base, "NamesAnotherOption", int, 1, refuse=_of_another_name)),
        ("options-refused", optioned(base, "FailsWhenUsed", int, 1, fails_in=method)),
        ("documentation", type("SaysNothingOfItself", (base,), {"__module__": __name__})),
        ("documentation", optioned(base, "SaysNothingOfItsOption", int, 1, doc="A sound member.")),
    ]
    if paper:
        found += [("paper", _subclass(base, name, paper=said)) for name, said in (("NoPaper", ""), ("BlankPaper", " "))]
    return found


def _assert(value):
    assert value > 0


def _of_another_name(value):
    if value < 1:
        raise ValueError("it should be 1 or more")


def _subclass(base, name, **members):
    return type(name, (base,), {"__doc__": base.__doc__, "__module__": __name__, **members})


DOC = """A sound member with an option.

Options:
    size: of nothing.
"""


def optioned(base, name, annotation, default, *, refuse=lambda value: None, fails_in="", doc=DOC):
    """A subclass with one more option, ``size``, as if it were written out."""
    of_base = inspect.signature(base.__init__)

    def __init__(self, *given, **options):  # noqa: N807 - that of the class below
        self.size = options.pop("size", default)
        refuse(self.size)
        base.__init__(self, *given, **options)

    def fail(self, *given, **options):
        if self.size < 1:
            raise IndexError("out of range")
        return getattr(super(made, self), fails_in)(*given, **options)

    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    own = [parameter for parameter in of_base.parameters.values() if parameter.kind in named]
    own = own or [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    size = inspect.Parameter("size", inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    __init__.__signature__ = of_base.replace(parameters=[*own, size])
    __init__.__annotations__ = {**getattr(base.__init__, "__annotations__", {}), "size": annotation}
    made = _subclass(base, name, __init__=__init__, __doc__=doc, **({fails_in: fail} if fails_in else {}))
    return made
