"""Hybrids that judge the laws: sound ones, and ones that break a law."""

import random

from zoo import Hybrid
from zoo.hybrids.state_space import Hymba

from .any_kind import option_controls


class Alternating(Hybrid):
    """Two mixers by turns, which each control bends in one place."""

    paper = "unpublished"
    period = "involution, dot-product"
    published = f"({period})*4"
    depth = 8
    reduced = 2


class AnyDepth(Hybrid):
    """A period that no publication repeats a number of times."""

    paper = "unpublished"
    period = "involution*2, dot-product"
    reduced = 3


SOUND = [Alternating, AnyDepth, Hymba]


# pattern


class MisspellsAMixer(Alternating):
    """A mixer that there is not."""

    period = "involution, dot-prodcut"


class MisspellsAnOption(Alternating):
    """An option that the mixer does not have, at one depth."""

    published = "(involution, dot-product(windw=8))*4"


class GivesAList(Alternating):
    """Layers as a list."""

    def pattern(self, layers):
        return ["involution"] * layers


class EvenDepthsOnly(Alternating):
    """No pattern for one layer."""

    def pattern(self, layers):
        return f"(involution, dot-product)*{layers // 2}"


class ShufflesItsLayers(Alternating):
    """Another order each time."""

    def pattern(self, layers):
        return ", ".join(random.choices(["involution", "dot-product", "correlation"], k=40))


# depth


class CountsWrongly(Alternating):
    """One layer less than it says."""

    depth = 9


class SmallOneLacksAttention(Alternating):
    """The reduced depth ends before the second mixer."""

    reduced = 1


class SaysNoReducedDepth(Alternating):
    """No number of layers for a small model."""

    reduced = 0


class SaysNoDepth(Alternating):
    """A published pattern without its number of layers."""

    depth = 0


BROKEN: list[tuple[str, type[Hybrid]]] = [
    ("pattern", MisspellsAMixer),
    ("pattern", MisspellsAnOption),
    ("pattern", GivesAList),
    ("pattern", EvenDepthsOnly),
    ("pattern", ShufflesItsLayers),
    ("depth", CountsWrongly),
    ("depth", SmallOneLacksAttention),
    ("depth", SaysNoReducedDepth),
    ("depth", SaysNoDepth),
    *option_controls(Alternating, "pattern"),
]
