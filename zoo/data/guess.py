"""What guessing gives on a task: the accuracy above which a model has learned something."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch

from zoo.data.score import Score
from zoo.data.source import Batch
from zoo.errors import PluginError
from zoo.task import IGNORE, Examples, Task

Levels = Mapping[str, Mapping[str, float]]
"""Accuracies by length (``"length"``), and by each slice of the longest, by what is counted and by its value."""


def guess_levels(
    task: Task, name: str, tests: Mapping[int, Iterable[Batch]], training: Examples
) -> dict[str, dict[str, float]]:
    """The accuracy of the best guesser on each test.

    A guesser is what `Task.guess` gives, or else the better of two: it says the answer that training asks for most
    often, or, of the tokens that training asks for, the one that the sequence has had most often so far. The second
    is what a model reaches that has found which tokens came, and not which belongs where.

    Args:
        task, name: for its own guesser, and for errors.
        tests: batches of its test by length, in the order in which they are reported.
        training: examples of its training, from which a guesser may know what is asked for.

    Raises:
        PluginError: the task's own guesser fails.
    """
    lengths: dict[str, float] = {}
    slices: dict[str, dict[str, float]] = {}
    for length, batches in tests.items():
        scores = _scores(list(batches), guessers(task, name, training))
        best = max(scores, key=lambda score: score.accuracy)
        lengths[str(length)], slices = best.accuracy, best.accuracies()
    return {"length": lengths, **slices}


Guesser = Callable[[np.ndarray], np.ndarray]
"""From inputs, ``(b, t)``, to what is guessed at each position, ``(b, t)``."""


def most_seen(inputs: np.ndarray, wanted: np.ndarray, otherwise: int) -> np.ndarray:
    """At each position the wanted token that has come most often up to there; of several, the first to come so often.

    Args:
        inputs: tokens, ``(b, t)``.
        wanted: which tokens count, ``(vocabulary,)``, bool.
        otherwise: what to say before one of them has come.
    """
    rows, time = inputs.shape
    # A stable sort lays equal tokens of a row side by side in their order: their place in the run is their count.
    order = np.argsort(inputs, axis=1, kind="stable")
    ordered = np.take_along_axis(inputs, order, axis=1)
    starts = np.concatenate([np.ones((rows, 1), dtype=bool), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    place = np.arange(time)
    run = place - np.maximum.accumulate(np.where(starts, place, 0), axis=1)
    count = np.empty_like(run)
    np.put_along_axis(count, order, run + 1, axis=1)
    # One number that grows with the count and, among equal counts, with how early they were reached.
    rank = np.where(wanted[inputs], count * time + (time - 1 - place), -1)
    best = np.maximum.accumulate(rank, axis=1)
    leader = np.where(best >= 0, time - 1 - best % time, 0)
    return np.where(best >= 0, np.take_along_axis(inputs, leader, axis=1), otherwise)


def guessers(task: Task, name: str, training: Examples) -> list[Guesser]:
    """The guessers of a task, of which the best counts; see `guess_levels`."""
    counts = training.targets != IGNORE if training.scored is None else training.scored
    asked = np.bincount(training.targets[counts], minlength=task.vocab_size)
    common = int(asked.argmax())

    def constant(inputs: np.ndarray) -> np.ndarray:
        return np.full_like(inputs, common)

    def own(inputs: np.ndarray) -> np.ndarray:
        guesses = np.asarray(_call(task, name, inputs))
        if guesses.shape != inputs.shape:
            raise PluginError(f"the task {name} guessed {guesses.shape} for inputs of {inputs.shape} (b, t)")
        return guesses

    if type(task).guess is not Task.guess:
        return [own]
    return [constant, lambda inputs: most_seen(inputs, asked > 0, common)]


def _call(task: Task, name: str, inputs: np.ndarray) -> object:
    try:
        return task.guess(inputs)
    except Exception as error:
        raise PluginError(f"the task {name} failed to guess: {type(error).__name__}: {error}") from error


def _scores(batches: list[Batch], guessers: list[Guesser]) -> list[Score]:
    scores = [Score() for _ in guessers]
    for batch in batches:
        inputs, targets = batch.inputs.numpy(), batch.at_predictions(batch.targets)
        for score, guesser in zip(scores, guessers, strict=True):
            guesses = torch.from_numpy(guesser(inputs).astype(np.int64))
            score.add_predictions(batch, batch.at_predictions(guesses), targets)
    return scores
