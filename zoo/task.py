"""What a task is and promises: sequences drawn at random, what is to be learned of them, and what is scored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from torch import nn

IGNORE = -100
"""The target of a position that is not scored, as in `torch.nn.functional.cross_entropy`."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Sequences of a task.

    Attributes:
        inputs: tokens, ``(b, t)``, whole numbers from 0 to the size of the vocabulary.
        targets: what is to be predicted at each position, ``(b, t)``; `IGNORE` where nothing is. It is not shifted:
            the target of a position stands at that position.
        scored: the positions that count for the accuracy, ``(b, t)``, bool, each with a target; None for all
            that have one.
        slices: whole numbers by which the accuracy is broken down, an example ``(b,)`` or a position ``(b, t)``, by
            the name of what they count, e.g. ``{"distance to the key": …}``.
        accepted: where more than one token is correct, which are, ``(b, t, v)``, bool, the target among them; None
            where only the target is. The loss is that of the target all the same.
    """

    inputs: np.ndarray
    targets: np.ndarray
    scored: np.ndarray | None = None
    slices: Mapping[str, np.ndarray] = field(default_factory=dict)
    accepted: np.ndarray | None = None


class Task:
    """A source of examples that a model learns and is tested on.

    Its options are the keyword parameters of its ``__init__``, with annotations and defaults, as those of a mixer
    are; ``__init__`` sets `vocab_size` and `length`, and refuses with a ValueError what cannot be. A docstring says,
    in this order: one sentence, how an example is made, an ``Options:`` section with a line ``name: meaning`` an
    option, and the source.
    """

    paper: ClassVar[str] = ""
    """Where the task comes from, e.g. ``"Arora et al. 2023, arXiv:2312.04927"``, or ``"unpublished"``."""

    suite: ClassVar[str | tuple[str, ...]] = ""
    """The name of the set of tasks that it belongs to, or the names, if any: a comparison takes all tasks of a set by
    its name."""

    solved: float | None = None
    """The accuracy from which on it counts as solved, above 0 and up to 1; None where there is no such line. Whether a
    run solves it or not says more than a mean over seeds, of which some do and some do not."""

    disjoint: ClassVar[bool] = True
    """Whether the zoo keeps the test apart: no sequence that is tested is ever trained on. False where a task is
    about what was seen in training."""

    settings: ClassVar[Mapping[str, Any]] = {}
    """Training settings that its definition asks for, e.g. ``{"layers": 2, "channel_mixer": "none"}``. A run starts
    from them, and may set others."""

    vocab_size: int
    """How many tokens there are."""

    length: int
    """Tokens of a training sequence."""

    test_lengths: tuple[int, ...] = ()
    """Other lengths at which the model is tested when it has been trained at `length`."""

    train_examples: int | None = None
    """How many different sequences are trained on, over and over; None draws new ones for every step."""

    test_examples: int = 1280
    """How many sequences are tested, at each length."""

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:
        """Draw sequences at random.

        Args:
            generator: the only source of chance: the same state gives the same examples.
            examples: how many, b.
            length: tokens of each, t: `length` of the task, or one of its `test_lengths`.
            test: whether they are for the test, where a task tests something else than it trains.
        """
        raise NotImplementedError(f"{type(self).__name__} has no draw(generator, examples, length=…, test=…)")

    def guess(self, inputs: np.ndarray) -> np.ndarray:
        """What is predicted with knowledge of the form of the task, but without learning it.

        Only what lies above the accuracy of such guesses shows that a model has learned the task. The default lets
        the zoo measure two guessers and take the better one: the answer that training asks for most often, and, of
        the tokens that training asks for, the one that the sequence has had most often so far.

        Args:
            inputs: tokens, ``(b, t)``.

        Returns:
            Tokens, ``(b, t)``; only those at scored positions count.
        """
        raise NotImplementedError("the zoo measures what guessing gives")

    def readout(self, dim: int) -> "nn.Module | None":  # noqa: ARG002 - most tasks need none
        """What stands between the stream and the unembedding, for a task that asks for it; None for nothing.

        Args:
            dim: the model width d.

        Returns:
            A module from the normalised stream, ``(b, t, d)``, to what is compared with the embeddings,
            ``(b, t, d)``. It may look at all positions.
        """
        return None

    def symbol(self, token: int) -> str:
        """A token as text, e.g. ``"k12"``; without spaces."""
        return str(token)
