"""The laws of hybrids: patterns that can be built, of as many layers as they say."""

from collections.abc import Mapping
from typing import cast

from zoo.errors import PatternError, PluginError, UsageError
from zoo.hybrid import Hybrid
from zoo.model.build import check_pattern
from zoo.plugin.pattern import Pattern, parse
from zoo.testing.law import Law, by_id, law
from zoo.testing.laws import member, options
from zoo.testing.member import MemberCase
from zoo.testing.violation import LawViolation

DEPTHS = range(1, 13)
"""Numbers of layers that are asked for, beside the reduced and the published one."""


class HybridCase(MemberCase):
    """A case of a hybrid."""

    def create(self) -> Hybrid:
        """A new one."""
        return cast(Hybrid, super().create())

    def use(self) -> None:
        """Ask for the pattern of a few layers."""
        self.create().pattern(4)


@law(
    "pattern",
    bug="A depth that the period does not divide, or an option that a mixer no longer has: the name is in the list, "
    "and no model can be built of it.",
    sane=False,
    limit=4,
)
def pattern(case: HybridCase) -> None:
    """For any number of layers it gives a pattern of registered members, the same each time."""
    hybrid = case.create()
    for layers in sorted({*DEPTHS, hybrid.reduced, hybrid.depth} - {0}):
        text = hybrid.pattern(layers)
        if not isinstance(text, str):
            raise LawViolation(f"pattern({layers}) is {type(text).__name__}, not text")
        try:
            check_pattern(text)
        except (PatternError, UsageError, PluginError) as error:
            raise LawViolation(f"pattern({layers}) cannot be built: {str(error).splitlines()[0]}") from None
        if case.create().pattern(layers) != text:
            raise LawViolation(f"pattern({layers}) is another one when it is asked for again")


@law(
    "depth",
    bug="Layers that were counted by hand: the published pattern has one more than the model, or the reduced one no "
    "layer of attention.",
    limit=4,
)
def depth(case: HybridCase) -> None:
    """The published pattern has `depth` layers, and the first `reduced` ones have every mixer of it."""
    hybrid = case.create()
    if hybrid.reduced < 1:
        raise LawViolation("`reduced` is the number of layers of a small model, 1 or more")
    if bool(hybrid.depth) < bool(hybrid.published):
        raise LawViolation("`published` has a pattern and `depth` no number of layers")
    full = parse(hybrid.pattern(hybrid.depth or hybrid.reduced))
    if hybrid.depth and len(full.layers()) != hybrid.depth:
        raise LawViolation(f"pattern({hybrid.depth}) has {len(full.layers())} layers")
    small = parse(hybrid.pattern(hybrid.reduced))
    missing = _mixers(full, hybrid.depth) - _mixers(small, hybrid.reduced)
    if missing:
        raise LawViolation(f"{hybrid.reduced} layers have no {', '.join(sorted(missing))}")


def _mixers(pattern: Pattern, layers: int) -> set[str]:
    rows = pattern.layers()
    return {call.name for row in (rows * max(1, layers))[: layers or None] for call in row.mixers}


HYBRID_LAWS: Mapping[str, Law] = by_id(
    [
        pattern,
        depth,
        options.options_round_trip,
        member.options_refused,
        options.docstring,
        options.paper,
    ]
)
"""By id."""
