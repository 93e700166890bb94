"""Tasks that judge the laws: sound ones, and ones that break a law."""

import copy

import numpy as np
import torch
from torch import nn

from zoo import Examples, Task
from zoo.tasks.plugin import zoo_tasks

from .any_kind import option_controls


class Echo(Task):
    """Say at every position what stands there, which each control bends in one place."""

    paper = "control"

    def __init__(self):
        self.length, self.vocab_size = 6, 8

    def draw(self, generator, examples, *, length, test):
        inputs = self.inputs(generator, (examples, length))
        return Examples(inputs, self.targets(inputs))

    def inputs(self, generator, shape):
        return generator.integers(self.vocab_size, size=shape)

    def targets(self, inputs):
        return inputs.copy()


# Sound ones.


class ScoresTheLast(Echo):
    """Learns every position and is tested on the last, at other lengths too."""

    test_lengths = (3, 9)
    settings = {"layers": 1, "dim": 16}  # noqa: RUF012 - as a plugin may well write it

    def draw(self, generator, examples, *, length, test):
        drawn = super().draw(generator, examples, length=length, test=test)
        scored = np.zeros(drawn.inputs.shape, dtype=bool)
        scored[:, -1] = True
        return Examples(drawn.inputs, drawn.targets, scored, {"first": drawn.inputs[:, 0]})


class FewSequences(Echo):
    """Of one token, which are the same in the test."""

    disjoint = False

    def __init__(self):
        self.length, self.vocab_size = 1, 64


class ReadsOut(Echo):
    """With a readout that looks at all positions."""

    def readout(self, dim):
        return nn.Sequential(nn.Linear(dim, dim), nn.Tanh())


class InBytes(Echo):
    """In the smallest types that hold the tokens."""

    def draw(self, generator, examples, *, length, test):
        drawn = super().draw(generator, examples, length=length, test=test)
        return Examples(drawn.inputs.astype(np.uint8), drawn.targets.astype(np.int8))


class AcceptsAnother(Echo):
    """Another token is as good as the target."""

    def draw(self, generator, examples, *, length, test):
        drawn = super().draw(generator, examples, length=length, test=test)
        accepted = np.zeros((*drawn.inputs.shape, self.vocab_size), dtype=bool)
        for tokens in (drawn.targets, (drawn.targets + 1) % self.vocab_size):
            np.put_along_axis(accepted, tokens[..., None], True, axis=2)
        return Examples(drawn.inputs, drawn.targets, accepted=accepted)


SOUND = [*zoo_tasks().values(), Echo, ScoresTheLast, FewSequences, ReadsOut, InBytes, AcceptsAnother]


# examples


class OneTooMany(Echo):
    """The last target is a token that there is not."""

    def targets(self, inputs):
        return inputs + 1


class OneShort(Echo):
    """A sequence lacks its last token."""

    def inputs(self, generator, shape):
        return super().inputs(generator, (shape[0], shape[1] - 1))


class OneLengthOnly(Echo):
    """The test lengths are not looked at."""

    test_lengths = (9,)

    def draw(self, generator, examples, *, length, test):
        return super().draw(generator, examples, length=6, test=test)


class InFloats(Echo):
    """Tokens with a decimal point."""

    def inputs(self, generator, shape):
        return super().inputs(generator, shape).astype(np.float64)


class ScoresNothing(Echo):
    """All targets count, and none is scored in the test."""

    def draw(self, generator, examples, *, length, test):
        drawn = super().draw(generator, examples, length=length, test=test)
        return Examples(drawn.inputs, drawn.targets, np.full(drawn.inputs.shape, not test))


class OneTestLength(Echo):
    """Takes another test length, and draws the training length all the same.

    Options:
        test_lengths: other lengths to test.
    """

    def __init__(self, *, test_lengths: tuple[int, ...] = ()):
        super().__init__()
        self.test_lengths = test_lengths

    def draw(self, generator, examples, *, length, test):
        return super().draw(generator, examples, length=6, test=test)


# determinism


class DrawsGlobally(Echo):
    """From numpy's own generator."""

    def inputs(self, generator, shape):
        return np.random.randint(self.vocab_size, size=shape)


class DrawsByTorch(Echo):
    """From torch's own generator."""

    def inputs(self, generator, shape):
        return torch.randint(self.vocab_size, shape).numpy()


class CountsDraws(Echo):
    """Each draw is turned further."""

    count = 0

    def inputs(self, generator, shape):
        self.count += 1
        return (super().inputs(generator, shape) + self.count) % self.vocab_size


class RulesOfItsOwn(Echo):
    """Every instance has another rule."""

    made = 0

    def __init__(self):
        super().__init__()
        RulesOfItsOwn.made += 1
        self.rule = self.made

    def targets(self, inputs):
        return (inputs + self.rule) % self.vocab_size


# variety


class SeedsItself(Echo):
    """The generator is not looked at."""

    def inputs(self, generator, shape):
        return super().inputs(np.random.default_rng(0), shape)


class CopiesTheGenerator(Echo):
    """The generator that is given never moves."""

    def inputs(self, generator, shape):
        return super().inputs(copy.deepcopy(generator), shape)


class StreamsFromOneSeed(Echo):
    """Draws follow each other, and all seeds give the same."""

    def __init__(self):
        super().__init__()
        self.streams = {}

    def inputs(self, generator, shape):
        own = self.streams.setdefault(id(generator), np.random.default_rng(0))
        self.kept = [*getattr(self, "kept", []), generator]  # so that no other generator gets its id
        return super().inputs(own, shape)


# memory


class SharesItsArrays(Echo):
    """The targets are the inputs."""

    def targets(self, inputs):
        return inputs


class UsesOneBuffer(Echo):
    """Draws into the arrays of the draw before."""

    def draw(self, generator, examples, *, length, test):
        drawn = super().draw(generator, examples, length=length, test=test)
        kept = self.__dict__.setdefault("kept", drawn)
        if kept.inputs.shape == drawn.inputs.shape:
            kept.inputs[:], kept.targets[:] = drawn.inputs, drawn.targets
            return kept
        return drawn


class GuessesInPlace(Echo):
    """Sorts what it is given."""

    def guess(self, inputs):
        inputs.sort(axis=1)
        return inputs


# splits


class OneSequence(Echo):
    """Of one token, which is always the same."""

    def __init__(self):
        self.length, self.vocab_size = 1, 1


class TwoSequencesInTheTest(Echo):
    """The test has two different sequences."""

    def draw(self, generator, examples, *, length, test):
        inputs = self.inputs(generator, (examples, length))
        if test:
            inputs = np.tile(inputs[:, :1] % 2, (1, length))
        return Examples(inputs, inputs.copy())


# guess


class GuessesRightly(Echo):
    """The guess is the answer."""

    def guess(self, inputs):
        return inputs.copy()


class AsksTheSameAlways(Echo):
    """The answer is three."""

    def targets(self, inputs):
        return np.full_like(inputs, 3)


class GuessesNoToken(Echo):
    """Guesses one token more than there are."""

    def guess(self, inputs):
        return np.full_like(inputs, self.vocab_size)


class GuessesInFloats(Echo):
    """Guesses the mean."""

    def guess(self, inputs):
        return np.full(inputs.shape, inputs.mean())


# readout


class ReadsOutOne(Echo):
    """The readout gives the last position alone."""

    def readout(self, dim):
        class Last(nn.Module):
            def forward(self, stream):
                return stream[:, -1:]

        return Last()


class ReadsOutDetached(Echo):
    """The readout works on a copy."""

    def readout(self, dim):
        class Detached(nn.Linear):
            def forward(self, stream):
                return super().forward(stream.detach())

        return Detached(dim, dim)


# symbols


class SymbolsWithSpaces(Echo):
    """A symbol of two words."""

    def symbol(self, token):
        return f"token {token}"


class SymbolsTwice(Echo):
    """Two tokens have one symbol."""

    def symbol(self, token):
        return "ab"[token % 2]


class SymbolsAreNumbers(Echo):
    """A symbol is a number."""

    def symbol(self, token):
        return token


# settings


class MisspeltSetting(Echo):
    """Asks for a setting that there is not."""

    settings = {"layer": 2}  # noqa: RUF012 - as a plugin may well write it


class NegativeSetting(Echo):
    """Asks for a value that no run takes."""

    settings = {"layers": -2}  # noqa: RUF012 - as a plugin may well write it


BROKEN: list[tuple[str, type[Task]]] = [
    ("examples", OneTooMany),
    ("examples", OneShort),
    ("examples", OneLengthOnly),
    ("examples", InFloats),
    ("examples", ScoresNothing),
    ("examples", OneTestLength),
    ("determinism", DrawsGlobally),
    ("determinism", DrawsByTorch),
    ("determinism", CountsDraws),
    ("determinism", RulesOfItsOwn),
    ("variety", SeedsItself),
    ("variety", CopiesTheGenerator),
    ("variety", StreamsFromOneSeed),
    ("memory", SharesItsArrays),
    ("memory", UsesOneBuffer),
    ("memory", GuessesInPlace),
    ("splits", OneSequence),
    ("splits", TwoSequencesInTheTest),
    ("guess", GuessesRightly),
    ("guess", AsksTheSameAlways),
    ("guess", GuessesNoToken),
    ("guess", GuessesInFloats),
    ("readout", ReadsOutOne),
    ("readout", ReadsOutDetached),
    ("symbols", SymbolsWithSpaces),
    ("symbols", SymbolsTwice),
    ("symbols", SymbolsAreNumbers),
    ("settings", MisspeltSetting),
    ("settings", NegativeSetting),
    *option_controls(Echo, "draw"),
]
