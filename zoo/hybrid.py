"""What a hybrid is: a pattern with a name."""

from typing import ClassVar


class Hybrid:
    """The arrangement of layers of a published model, by a name that stands for its pattern.

    ``--mixer NAME`` and `build_model` take the name in place of a pattern. It stands for the whole of one, and is never
    that of a mixer. A hybrid says which mixers follow each other, with the options that make them what they are in the
    source; widths, heads and the vocabulary stay the user's.

    Its options are the keyword parameters of its ``__init__``. A docstring says in one sentence what the model is, and
    what the pattern leaves out of it.
    """

    paper: ClassVar[str] = ""
    """Where the arrangement comes from: a paper, or the configuration of a released model."""

    published: ClassVar[str] = ""
    """The pattern of all layers, as they were published. Empty where models of several depths repeat `period`."""

    period: ClassVar[str] = ""
    """What other depths repeat. Empty where they repeat the published pattern."""

    depth: ClassVar[int] = 0
    """How many layers `published` has, 0 where it is empty."""

    reduced: ClassVar[int] = 0
    """A smaller number of layers that still has each kind of layer, and is taken where the user gives no number."""

    def pattern(self, layers: int) -> str:
        """The pattern of a model of so many layers. It is cut where it has more, and repeated where it has less.

        Args:
            layers: how many there are; `depth` gives the published pattern.
        """
        return self.published if layers == self.depth or not self.period else self.period
