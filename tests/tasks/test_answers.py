"""What a task says is right is what a plain solver finds, for odd options too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo import IGNORE
from zoo.tasks.plugin import zoo_tasks

from .option_sets import OPTION_SETS
from .solvers import SOLVERS

TASKS = zoo_tasks()
EXAMPLES = 40


def drawn(task, seed, *, length=None, test=False, examples=EXAMPLES):
    return task.draw(np.random.default_rng(seed), examples, length=length or task.length, test=test)


def scored_answers(task, examples):
    """For each example its symbols, and the answers that count by position."""
    scored = examples.targets != IGNORE if examples.scored is None else examples.scored
    for tokens, targets, counts in zip(examples.inputs.tolist(), examples.targets, scored, strict=True):
        answers = {int(time): task.symbol(int(targets[time])) for time in np.flatnonzero(counts)}
        yield [task.symbol(token) for token in tokens], answers


@pytest.mark.parametrize("name", TASKS)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_a_plain_solver_finds_the_answers(name, data, seed):
    options = data.draw(OPTION_SETS[name])
    task = TASKS[name](**options)
    extra = {}
    if name == "memorization":  # the facts are in no sequence: they are learned from others
        extra["value_of"] = learned_facts(task)
    for length in (task.length, *task.test_lengths):
        for test in (False, True):
            for symbols, answers in scored_answers(task, drawn(task, seed, length=length, test=test)):
                assert SOLVERS[name](symbols, **options, **extra) == answers


def learned_facts(task):
    facts = {}
    for symbols, answers in scored_answers(task, drawn(task, 5, length=600, test=False)):
        for time, value in answers.items():
            assert facts.setdefault(symbols[time - 1], value) == value
    return facts


@pytest.mark.parametrize("name", TASKS)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_shapes_and_ranges(name, data, seed):
    task = TASKS[name](**data.draw(OPTION_SETS[name]))
    for length in (task.length, *task.test_lengths):
        for test in (False, True):
            check_shapes(task, drawn(task, seed, length=length, test=test), (EXAMPLES, length))


def check_shapes(task, examples, shape):
    for tokens in (examples.inputs, examples.targets):
        assert tokens.shape == shape
        assert tokens.dtype == np.int64
        assert tokens.flags.writeable
    assert not np.shares_memory(examples.inputs, examples.targets)
    assert examples.inputs.min() >= 0
    assert examples.inputs.max() < task.vocab_size
    answers = examples.targets[examples.targets != IGNORE]
    assert answers.min() >= 0
    assert answers.max() < task.vocab_size
    scored = examples.targets != IGNORE
    if examples.scored is not None:
        assert examples.scored.dtype == bool
        assert (scored >= examples.scored).all()
        scored = examples.scored
    assert scored.any(axis=1).all()  # every example has something to score
    for counted in examples.slices.values():
        assert counted.shape in {shape, shape[:1]}
        assert counted.dtype == np.int64
        assert (counted[scored] >= 1).all() if counted.ndim == 2 else (counted >= 1).all()


@pytest.mark.parametrize("name", TASKS)
def test_the_generator_alone_decides(name):
    task = TASKS[name]()
    first, again, other = (drawn(task, seed) for seed in (3, 3, 4))
    np.random.seed(1)
    same_elsewhere = drawn(TASKS[name](), 3)
    for examples in (again, same_elsewhere):
        assert np.array_equal(first.inputs, examples.inputs)
        assert np.array_equal(first.targets, examples.targets)
        assert all(np.array_equal(first.slices[key], examples.slices[key]) for key in first.slices)
    assert not np.array_equal(first.inputs, other.inputs)
    assert len(np.unique(first.inputs, axis=0)) == EXAMPLES
    generator = np.random.default_rng(3)
    two = [task.draw(generator, EXAMPLES, length=task.length, test=False).inputs for _ in range(2)]
    assert not np.array_equal(*two)


@pytest.mark.parametrize("name", ["in-context-recall", "noisy-recall", "fuzzy-recall"])
def test_recall_trains_on_every_next_token(name):
    for test in (False, True):
        examples = drawn(TASKS[name](), 0, test=test)
        assert np.array_equal(examples.targets[:, :-1], examples.inputs[:, 1:])
        assert (examples.targets[:, -1] == IGNORE).all()


@pytest.mark.parametrize("name", ["mqar", "selective-copying", "memorization", "induction", "delayed-copy"])
def test_nothing_but_what_counts_is_asked(name):
    """The solvers compare all answers with a target then."""
    assert drawn(TASKS[name](), 0).scored is None
