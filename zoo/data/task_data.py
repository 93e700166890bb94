"""A task made ready for training: examples as a pure function of the step, and a test that is kept apart."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from zoo.data.examples import Split, slim, take
from zoo.data.guess import guess_levels
from zoo.data.source import IGNORE, Batch, Source
from zoo.errors import UsageError
from zoo.model.backbone import Backbone
from zoo.task import Examples, Task

_FRESH, _SET, _ORDER, _TEST, _GUESS = range(5)
"""What chance is asked for: each has a stream of its own."""

_TEST_KEY = 0
"""The test does not depend on the seed of a run: all runs are measured on the same examples."""

_GUESS_EXAMPLES = 1024
"""Sequences of training from which a guesser knows which targets there are, and how often each occurs."""

_GUESS_BATCH = 256


@dataclass(frozen=True, eq=False)
class TaskData(Source):
    """A task as a source of batches.

    Args:
        task: an instance.
        name: the task with its options, in canonical form.
    """

    task: Task
    name: str
    tokenizer: None = None

    metric = "accuracy"
    unit = "nats per target"

    @property
    def vocab_size(self) -> int:
        """How many tokens the task has."""
        return self.task.vocab_size

    @property
    def lengths(self) -> tuple[int, ...]:  # type: ignore[override]
        """Other lengths at which the model is tested."""
        return tuple(self.task.test_lengths)

    @property
    def settings(self) -> Mapping[str, Any]:  # type: ignore[override]
        """The settings of a run that name the task."""
        return {"data": self.name}

    @cached_property
    def sha256(self) -> str:  # type: ignore[override]
        """The checksum of the test's inputs and targets, at the training length."""
        test = self._test(self.task.length)
        return hashlib.sha256(test.inputs.tobytes() + test.targets.tobytes()).hexdigest()

    def readout(self, dim: int) -> nn.Module | None:
        """The task's own readout."""
        return self.task.readout(dim)

    def check_context(self, context: int) -> None:
        """Refuse any length but the task's own."""
        if context != self.task.length:
            raise UsageError(
                f"context={context}, but the task {self.name} has sequences of {self.task.length} tokens: leave the "
                "context out, and set the length as an option of the task"
            )

    def draw(self, *, context: int, batch: int, step: int, seed: int = 0) -> Batch:
        """Sequences to train on: new ones, or the next of the training set, which is shuffled anew in each epoch."""
        if self.task.train_examples is None:
            generator = _generator(seed, step, _FRESH)
            examples = self._split(context, test=False).draw(generator, batch)
            return _batch(examples, np.arange(step * batch, (step + 1) * batch))
        training, size = self._training_set(seed), self.task.train_examples
        numbers = np.arange(step * batch, (step + 1) * batch)
        epochs, places = numbers // size, numbers % size
        rows = np.concatenate([self._order(seed, int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)])
        return _batch(take(training, rows), rows)

    def validation_batches(self, *, context: int, batch: int, limit: int | None = None) -> Iterator[Batch]:
        """The test at that length, or its first sequences."""
        test = self._test(context)
        count = len(test.inputs) if limit is None else min(len(test.inputs), max(1, limit // context))
        for start in range(0, count, batch):
            rows = np.arange(start, min(start + batch, count))
            yield _batch(take(test, rows), rows)

    def guess_levels(self, lengths: Sequence[int]) -> dict[str, dict[str, float]]:
        """The accuracy that guessing gives, see `zoo.data.guess.guess_levels`."""
        generator = _generator(_TEST_KEY, 0, _GUESS)
        training = self._split(self.task.length, test=False).draw(generator, _GUESS_EXAMPLES)
        tests = {length: self.validation_batches(context=length, batch=_GUESS_BATCH) for length in lengths}
        return guess_levels(self.task, self.name, tests, training)

    @torch.no_grad()
    def sample(self, model: Backbone, *, tokens: int, seed: int) -> str:  # noqa: ARG002 - an example is as long as it is
        """The first example of the test, with an arrow to the model's prediction wherever one is scored: ``k3→v7``.

        Where a prediction is wrong, the target follows it in brackets: ``k3→v2(v7)``.
        """
        batch = next(self.validation_batches(context=self.task.length, batch=1))
        device = next(model.parameters()).device
        predictions = model.eval()(batch.inputs.to(device)).logits.argmax(-1).cpu()
        model.train()
        correct = replace(batch, where=None).are_correct(predictions.flatten(), batch.targets.flatten())
        scored = batch.targets[0] != IGNORE if batch.scored is None else batch.scored[0]
        rows = (batch.inputs[0], batch.targets[0], predictions[0], scored, correct)
        return " ".join(self._word(*position) for position in zip(*(row.tolist() for row in rows), strict=True))

    def _word(self, token: int, target: int, prediction: int, scored: bool, correct: bool) -> str:
        symbol = self.task.symbol
        if not scored:
            return symbol(token)
        return f"{symbol(token)}→{symbol(prediction)}" + ("" if correct else f"({symbol(target)})")

    def _split(self, length: int, *, test: bool) -> Split:
        tested = length in (self.task.length, *self.task.test_lengths)
        return Split(self.task, self.name, length, test, apart=tested)

    @cached_property
    def _kept(self) -> dict[object, Examples]:
        return {}

    def _test(self, length: int) -> Examples:
        if length not in self._kept:
            generator, count = _generator(_TEST_KEY, length, _TEST), self.task.test_examples
            self._kept[length] = self._split(length, test=True).draw(generator, count)
        return self._kept[length]

    def _training_set(self, seed: int) -> Examples:
        if ("train", seed) not in self._kept:
            assert self.task.train_examples is not None
            generator, count = _generator(seed, 0, _SET), self.task.train_examples
            self._kept["train", seed] = slim(self._split(self.task.length, test=False).draw(generator, count))
        return self._kept["train", seed]

    @cached_property
    def _orders(self) -> dict[tuple[int, int], np.ndarray]:
        return {}

    def _order(self, seed: int, epoch: int) -> np.ndarray:
        """The training set's order in one epoch; those of the last two are kept."""
        if (seed, epoch) not in self._orders:
            while len(self._orders) > 1:
                del self._orders[next(iter(self._orders))]
            self._orders[seed, epoch] = _generator(seed, epoch, _ORDER).permutation(self.task.train_examples or 0)
        return self._orders[seed, epoch]


def _generator(key: int, number: int, purpose: int) -> np.random.Generator:
    """Chance that is a pure function of its arguments (Philox: Salmon et al. 2011)."""
    return np.random.Generator(np.random.Philox(key=key, counter=[0, number, 0, 1 + purpose]))


def _batch(examples: Examples, offsets: np.ndarray) -> Batch:
    inputs, targets = (torch.from_numpy(array.astype(np.int64)) for array in (examples.inputs, examples.targets))
    where = (targets.flatten() != IGNORE).nonzero().squeeze(1)
    return Batch(
        inputs,
        targets,
        torch.from_numpy(offsets),
        where,
        None if examples.scored is None else torch.from_numpy(examples.scored),
        {name: torch.from_numpy(_by_position(values, inputs.shape[1])) for name, values in examples.slices.items()},
        accepted=None if examples.accepted is None else torch.from_numpy(examples.accepted),
    )


def _by_position(values: np.ndarray, time: int) -> np.ndarray:
    return np.repeat(values[:, None], time, axis=1) if values.ndim == 1 else values
