"""The laws that every mixer keeps: one function a law, which takes a built mixer and reads for it.

A law never changes the mixer that it is given. Give it a mixer in float64 (`mixer.double()`), so that a leak cannot
hide behind rounding, with parameters that `zoo.testing.running.drawn` drew, so that none hides behind a zero. A law
that is broken raises `LawViolation`.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from torch import Tensor

from zoo.contract import TokenMixer
from zoo.options import check_options
from zoo.pattern import Call, parse_call
from zoo.testing.forward_laws import (
    check_batch_independence,
    check_causality,
    check_prefix,
    check_purity,
    check_shapes,
)
from zoo.testing.gradient_law import check_gradients
from zoo.testing.streaming_laws import check_state, check_streaming
from zoo.testing.violation import LawViolation

Check: TypeAlias = Callable[[TokenMixer, Tensor], None]

LAWS: Mapping[str, Check] = {
    "shapes": check_shapes,
    "purity": check_purity,
    "causality": check_causality,
    "prefix": check_prefix,
    "batch-independence": check_batch_independence,
    "streaming": check_streaming,
    "state": check_state,
    "gradients": check_gradients,
}
"""By id. What an id stands for does not change: a law that says something else gets another one."""

OF_CAUSAL_MIXERS = frozenset({"causality", "prefix", "streaming", "state"})
"""The laws that only a mixer with ``causal = True`` has promised to keep."""


def laws_of(mixer: TokenMixer | type[TokenMixer]) -> dict[str, Check]:
    """The laws that this mixer has promised to keep, by id."""
    return {law: check for law, check in LAWS.items() if mixer.causal or law not in OF_CAUSAL_MIXERS}


def check_round_trip(cls: type[TokenMixer], name: str, options: Mapping[str, Any]) -> None:
    """Options come back from the pattern that writes them down as they were, and the mixer still takes them."""
    text = str(Call(name, tuple(options.items())))
    back = check_options(cls, parse_call(text).keywords, name)
    if back != dict(options):
        raise LawViolation("round-trip", f"{text} reads back as {back}, not as {dict(options)}")
