"""Examples of a task: checked, cut, joined, and drawn so that what is tested is never trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo.errors import PluginError, UsageError
from zoo.task import IGNORE, Examples, Task

TEST_SHARE = 8
"""One sequence in so many is for the test, and never for training."""

_ATTEMPTS = 40
"""Draws after which a task has too few different sequences."""

# Odd constants of SplitMix64 (Steele, Lea & Flood 2014).
_GAMMA, _FIRST, _SECOND = (np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


@dataclass(frozen=True)
class Split:
    """The sequences of a task that are for the test, or those that are not.

    Which split a sequence belongs to is a function of its tokens, so that no sequence is ever in both; of those that
    the task draws, the ones of the other split are thrown away. A task that is not `disjoint` keeps all.

    Args:
        task: draws them.
        name: of the task, for errors.
        length: tokens of each sequence, t.
        test: for the test rather than for training.
        apart: whether sequences of that length are tested and must not be trained on.
    """

    task: Task
    name: str
    length: int
    test: bool
    apart: bool = True

    def draw(self, generator: np.random.Generator, count: int) -> Examples:
        """So many examples, b; the generator is the only source of chance.

        Raises:
            UsageError: the task has too few different sequences.
            PluginError: the task gives what is no `Examples`.
        """
        if not (self.apart and self.task.disjoint):
            return self._draw_any(generator, count)
        parts: list[Examples] = []
        have, share = 0, TEST_SHARE if self.test else TEST_SHARE / (TEST_SHARE - 1)
        for _ in range(_ATTEMPTS):
            # a little more than it takes on average, so that once is mostly enough
            drawn = self._draw_any(generator, int(1.1 * (count - have) * share) + 8)
            parts.append(take(drawn, np.flatnonzero(is_for_test(drawn.inputs) == self.test)))
            have += len(parts[-1].inputs)
            if have >= count:
                return take(concatenate(parts), np.arange(count))
        raise UsageError(
            f"the task {self.name} has too few different sequences of {self.length} tokens to keep some apart for the "
            "test: make it longer, or give it more symbols"
        )

    def _draw_any(self, generator: np.random.Generator, count: int) -> Examples:
        try:
            examples: object = self.task.draw(generator, count, length=self.length, test=self.test)
        except Exception as error:
            raise PluginError(f"the task {self.name} failed to draw: {type(error).__name__}: {error}") from error
        if not isinstance(examples, Examples):
            raise PluginError(f"the task {self.name} drew a {type(examples).__name__}, not zoo.Examples")
        if fault := find_fault(examples, (count, self.length), self.task.vocab_size):
            raise PluginError(f"the task {self.name} drew {fault}")
        return examples


def is_for_test(inputs: np.ndarray) -> np.ndarray:
    """Which sequences, ``(b, t)``, are for the test: about one in eight, by a hash of their tokens; ``(b,)``."""
    places = _GAMMA * np.arange(1, inputs.shape[1] + 1, dtype=np.uint64)
    return mixed(mixed(inputs.astype(np.uint64) + places).sum(axis=1, dtype=np.uint64)) % np.uint64(TEST_SHARE) == 0


def take(examples: Examples, rows: np.ndarray) -> Examples:
    """Some of the examples, by their numbers."""
    scored = None if examples.scored is None else examples.scored[rows]
    slices = {name: values[rows] for name, values in examples.slices.items()}
    accepted = None if examples.accepted is None else examples.accepted[rows]
    return Examples(examples.inputs[rows], examples.targets[rows], scored, slices, accepted)


def slim(examples: Examples) -> Examples:
    """The same examples in as few bytes as they need, without what training does not look at."""
    lowest, highest = (np.min_scalar_type(bound) for bound in (IGNORE, examples.targets.max()))
    targets = examples.targets.astype(np.promote_types(lowest, highest))
    return Examples(examples.inputs.astype(np.min_scalar_type(examples.inputs.max())), targets, examples.scored)


def concatenate(parts: Sequence[Examples]) -> Examples:
    """All examples of all parts."""
    if len(parts) == 1:
        return parts[0]
    scored = [part.scored for part in parts if part.scored is not None]
    accepted = [part.accepted for part in parts if part.accepted is not None]
    return Examples(
        np.concatenate([part.inputs for part in parts]),
        np.concatenate([part.targets for part in parts]),
        np.concatenate(scored) if scored else None,
        {name: np.concatenate([part.slices[name] for part in parts]) for name in parts[0].slices},
        np.concatenate(accepted) if accepted else None,
    )


def mixed(words: np.ndarray) -> np.ndarray:
    """Words of 64 bits, each mixed up so that all its bits depend on all that it had (SplitMix64)."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))


def find_fault(examples: Examples, shape: tuple[int, int], vocab_size: int) -> str | None:
    """What is wrong with examples of a shape ``(b, t)``, in words that follow "it drew"; None if nothing is."""
    return _wrong_shape(examples, shape) or _wrong_value(examples, vocab_size) or _wrong_accepted(examples, vocab_size)


def _wrong_shape(examples: Examples, shape: tuple[int, int]) -> str | None:
    for name in ("inputs", "targets", "scored"):
        array = getattr(examples, name)
        if array is not None and np.shape(array) != shape:
            return f"{name} of shape {np.shape(array)}, not {shape} (b, t)"
    for name, values in examples.slices.items():
        if np.shape(values) not in (shape, shape[:1]):
            return f"the slice {name!r} of shape {np.shape(values)}, not {shape[:1]} or {shape}"
    return None


def _wrong_value(examples: Examples, vocab_size: int) -> str | None:
    targeted = examples.targets != IGNORE
    if not targeted.any(axis=1).all():
        return "a sequence without a target"
    if examples.scored is not None and (examples.scored & ~targeted).any():
        return "scored positions without a target"
    for name, tokens in {"inputs": examples.inputs, "targets": examples.targets[targeted]}.items():
        if tokens.min() < 0 or tokens.max() >= vocab_size:
            return f"{name} from {tokens.min()} to {tokens.max()}, with a vocabulary of {vocab_size}"
    return None


def _wrong_accepted(examples: Examples, vocab_size: int) -> str | None:
    if examples.accepted is None:
        return None
    shape = (*examples.targets.shape, vocab_size)
    if examples.accepted.shape != shape or examples.accepted.dtype != np.bool_:
        return f"accepted as {examples.accepted.dtype} {examples.accepted.shape}, not bool {shape} (b, t, vocabulary)"
    targeted = examples.targets != IGNORE
    if not np.take_along_axis(examples.accepted[targeted], examples.targets[targeted][:, None], axis=1).all():
        return "a target that is not among the accepted tokens"
    return None
