"""The laws of tasks: that what is drawn is what was declared, and that chance is the generator's alone."""

import random
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch

from zoo.data.examples import Split, find_fault
from zoo.data.guess import guessers
from zoo.errors import UsageError
from zoo.task import IGNORE, Examples, Task
from zoo.testing.law import Law, by_id, law
from zoo.testing.laws import member, options
from zoo.testing.member import MemberCase
from zoo.testing.violation import LawViolation, NotApplicable
from zoo.train.resolve import load_preset
from zoo.train.settings import validate

COUNT = 40
"""Examples that are drawn at once."""

MANY = 200
"""Examples of which a share is taken."""


class TaskCase(MemberCase):
    """A case of a task."""

    def create(self) -> Task:
        """A new task."""
        return cast(Task, super().create())

    def draw(self, task: Task, seed: int = 0, *, length: int | None = None, test: bool = False) -> Examples:
        """Some examples under a seed, of the training length by default."""
        generator = np.random.default_rng([self.seed, seed])
        return task.draw(generator, COUNT, length=task.length if length is None else length, test=test)

    def use(self) -> None:
        """Draw some examples; fails where they are none."""
        task = self.create()
        for test in (False, True):
            if fault := find_fault(self.draw(task, test=test), (COUNT, task.length), task.vocab_size):
                raise ValueError(f"it draws {fault}")


def _scored(examples: Examples) -> np.ndarray:
    return examples.targets != IGNORE if examples.scored is None else examples.scored


def _arrays(examples: Examples) -> dict[str, np.ndarray]:
    """All arrays of examples, by name."""
    scored = {} if examples.scored is None else {"scored": examples.scored}
    accepted = {} if examples.accepted is None else {"accepted": examples.accepted}
    return {"inputs": examples.inputs, "targets": examples.targets, **scored, **accepted, **examples.slices}


def _same(first: Examples, second: Examples) -> bool:
    one, other = _arrays(first), _arrays(second)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@law(
    "examples",
    bug="Targets shifted by one as in a language model: the last of them is a token that the vocabulary lacks.",
    sane=False,
)
def examples(case: TaskCase) -> None:
    """Examples are whole numbers in the declared shape and vocabulary, each with a position that is scored, at every
    length that is declared.
    """
    task = case.create()
    for length, test in [(length, test) for length in (task.length, *task.test_lengths) for test in (False, True)]:
        drawn = case.draw(task, length=length, test=test)
        _check_examples(task, drawn, length, f"{'in the test' if test else 'in training'} at length {length}")
    for longer in _longer(case, task):
        length = 2 * task.length
        _check_examples(longer, case.draw(longer, length=length, test=True), length, f"in the test at length {length}")


def _longer(case: TaskCase, task: Task) -> Iterator[Task]:
    """The task with a test at twice its length, if it has an option for that and takes it."""
    if case.subject.takes("test_lengths"):
        try:
            yield cast(Task, case.subject.create({**case.options, "test_lengths": (2 * task.length,)}))
        except UsageError:
            return


def _check_examples(task: Task, drawn: Examples, length: int, where: str) -> None:
    if fault := find_fault(drawn, (COUNT, length), task.vocab_size):
        raise LawViolation(f"it draws {fault}, {where}")
    for name, values in _arrays(drawn).items():
        flags = values is drawn.scored or values is drawn.accepted
        wanted: Any = np.bool_ if flags else np.integer
        if not np.issubdtype(values.dtype, wanted):
            kind = "true or false" if flags else "whole numbers"
            raise LawViolation(f"it draws {name} as {values.dtype}, not {kind}, {where}")
    if not _scored(drawn).any(axis=1).all():
        raise LawViolation(f"it draws a sequence in which nothing is scored, {where}")


@law(
    "determinism",
    bug="`np.random.choice` in the midst of a draw that is given a generator: no run can be repeated or resumed.",
)
def determinism(case: TaskCase) -> None:
    """The same state of the generator gives the same examples, in another instance, and whatever was drawn before."""
    task = case.create()
    for test in (False, True):
        first = case.draw(task, test=test)
        case.draw(task, 1, test=not test)
        for seed in (np.random.seed, random.seed, torch.manual_seed):
            seed(case.seed + 7)
        for name, again in (("the same task", task), ("a second one", case.create())):
            if not _same(first, case.draw(again, test=test)):
                raise LawViolation(f"{name} draws other examples from the same state of the generator")


@law(
    "variety",
    bug="`default_rng(0)` inside of draw: every step trains on the first batch, and the loss falls to zero.",
)
def variety(case: TaskCase) -> None:
    """Another state of the generator gives other examples, and so does drawing on from one."""
    task, generator = case.create(), np.random.default_rng(case.seed)
    first, second = (task.draw(generator, COUNT, length=task.length, test=False).inputs for _ in range(2))
    if np.array_equal(first, second):
        raise LawViolation(f"two draws of {COUNT} examples, one after the other from one generator, are the same")
    if np.array_equal(case.draw(task).inputs, case.draw(task, 1).inputs):
        raise LawViolation(f"two draws of {COUNT} examples under different seeds are the same")


@law(
    "memory",
    bug="Examples in a buffer that is used again: the batch in training is overwritten by the one that is drawn next.",
)
def memory(case: TaskCase) -> None:
    """What was drawn is the caller's: its arrays share no memory, and neither the next draw nor a guess changes it."""
    task = case.create()
    first = case.draw(task)
    if np.shares_memory(first.inputs, first.targets):
        raise LawViolation("inputs and targets share their memory: whoever changes one changes both")
    kept = {name: values.copy() for name, values in _arrays(first).items()}
    case.draw(task, 1)
    if changed := _changed(first, kept):
        raise LawViolation(f"the next draw changes the {changed} of the one before")
    if type(task).guess is not Task.guess:
        task.guess(first.inputs)
        if changed := _changed(first, kept):
            raise LawViolation(f"guess changes the {changed} that it is given")


def _changed(drawn: Examples, kept: Mapping[str, np.ndarray]) -> str:
    return next((name for name, values in _arrays(drawn).items() if not np.array_equal(values, kept[name])), "")


@law(
    "splits",
    bug="A vocabulary of four and sequences of three tokens: whatever is tested has been trained on.",
    limit=1,
)
def splits(case: TaskCase) -> None:
    """A task that says `disjoint` has enough different sequences to keep some apart for the test, at every length."""
    task = case.create()
    if not task.disjoint:
        raise NotApplicable("it says disjoint = False: what it tests may have been trained on")
    for length in (task.length, *task.test_lengths):
        for test in (False, True):
            try:
                Split(task, case.subject.label, length, test).draw(np.random.default_rng(case.seed), MANY)
            except UsageError as error:
                raise LawViolation(str(error)) from None


@law(
    "guess",
    bug="A guess that looks the answer up: the level of guessing is 100 %, and no model ever lies above it.",
    limit=1,
)
def guess(case: TaskCase) -> None:
    """Guesses are tokens, `(b, t)`, and leave something to learn: the best guesser is not always right."""
    task = case.create()
    training, test = case.draw(task), case.draw(task, 1, test=True)
    for guesser in guessers(task, case.subject.label, training):
        guesses, scored = np.asarray(guesser(test.inputs)), _scored(test)
        said = guesses[scored]
        if not np.issubdtype(said.dtype, np.integer) or said.min() < 0 or said.max() >= task.vocab_size:
            raise LawViolation(f"guess gives {said.dtype} from {said.min()} to {said.max()}, not tokens")
        if np.array_equal(said, test.targets[scored]):
            raise LawViolation("a guesser is right everywhere: no model can show that it has learned the task")


WIDTH = 8
"""Of the model whose readout is looked at."""


@law(
    "readout",
    bug="A readout that works on a copy of the stream: the loss falls a little, for the readout learns, and the model "
    "behind it never does.",
    limit=1,
)
def readout(case: TaskCase) -> None:
    """A readout maps the stream, `(b, t, d)`, to the same shape, and gradients lead through it to the stream."""
    torch.manual_seed(case.seed)
    task = case.create()
    module = task.readout(WIDTH)
    if module is None:
        raise NotApplicable("it has no readout")
    for length in (task.length, *task.test_lengths):
        stream = torch.randn(2, length, WIDTH, requires_grad=True)
        said = module(stream)
        if said.shape != stream.shape:
            raise LawViolation(f"its readout gives {tuple(said.shape)} for a stream of {tuple(stream.shape)}")
        got = torch.autograd.grad(said.sin().sum(), stream, allow_unused=True)[0] if said.requires_grad else None
        if got is None or not got.any():
            raise LawViolation(f"no gradient leads through its readout to the stream, at length {length}")


@law(
    "symbols",
    bug="Keys and values with the same names: the example that `zoo tasks` prints cannot be read.",
    grade="finish",
    limit=1,
)
def symbols(case: TaskCase) -> None:
    """Every token has a symbol of its own, without spaces."""
    task, seen = case.create(), dict[str, int]()
    for token in range(task.vocab_size):
        symbol = task.symbol(token)
        if not isinstance(symbol, str) or not symbol or any(letter.isspace() for letter in symbol):
            raise LawViolation(f"the symbol of token {token} is {symbol!r}, not text without spaces")
        if symbol in seen:
            raise LawViolation(f"tokens {seen[symbol]} and {token} have the same symbol {symbol!r}")
        seen[symbol] = token


@law(
    "settings",
    bug="A misspelt setting in the class: every run of the task is refused, in words that the user did not write.",
    limit=1,
    varies=False,
)
def settings(case: TaskCase) -> None:
    """The settings that a task asks for are settings of a run, with values that they take."""
    task = case.create()
    if not task.settings:
        raise NotApplicable("it asks for no settings")
    try:
        validate({**load_preset("quick"), **task.settings})
    except UsageError as error:
        raise LawViolation(f"its settings are refused: {error}") from None


TASK_LAWS: Mapping[str, Law] = by_id(
    [
        examples,
        determinism,
        variety,
        memory,
        splits,
        guess,
        readout,
        settings,
        symbols,
        options.options_round_trip,
        member.options_refused,
        options.docstring,
        options.paper,
    ]
)
"""By id."""
