"""Hops are drawn as the published generator does it, and answered as a permutation says."""

import hashlib
import random
from collections import Counter

import numpy as np
import pytest

from zoo import IGNORE
from zoo.data.task_data import TaskData
from zoo.tasks.depth.draws import draw_sizes, shuffle_allowed
from zoo.tasks.depth.hops import Hops

from .chance import counted, excess


def drawn(examples=4000, *, test=False, **options):
    task = Hops(**options)
    return task, task.draw(np.random.default_rng(0), examples, length=task.length, test=test)


def sizes_of(task, examples):
    """The words of each cycle: every query stands behind all edges."""
    return (examples.inputs >= task.words).argmax(axis=1) // 2


@pytest.mark.parametrize("test", [False, True])
def test_answers_are_powers_of_a_permutation(test):
    _, examples = drawn(300, words=9, hops=7, queries=5, length=40, test=test)
    for tokens, targets, hops in zip(examples.inputs, examples.targets, examples.slices["hops"], strict=True):
        step = np.zeros((9, 9), dtype=int)
        begin = np.argmax(tokens >= 9)
        step[tokens[0:begin:2], tokens[1:begin:2]] = 1
        returns = [np.linalg.matrix_power(step, count).trace() for count in range(1, begin // 2 + 1)]
        assert returns == [0] * (begin // 2 - 1) + [begin // 2]  # one cycle of all words
        for time in range(40):
            if targets[time] == IGNORE:
                assert hops[time] == 0
            else:
                assert hops[time] == tokens[time - 1] - 8
                assert (
                    np.linalg.matrix_power(step, hops[time])[tokens[time]].tolist() == np.eye(9)[targets[time]].tolist()
                )


def published(generator, *, most, hops, queries):
    """A cycle by the published rules, one at a time: its size, and each query's k and whether it leads back."""
    sizes = range(3, most + 1)
    size = generator.choices(sizes, weights=[1 / (n + most**0.5) for n in sizes])[0]
    words = generator.sample(range(100), size)
    asked = []
    for start in generator.sample(range(size), min(size, queries)):
        steps = generator.randint(1, hops)
        asked.append((steps, words[(start + steps) % size] == words[start]))
    return size, asked


def test_sizes_and_queries_come_as_often_as_the_published_generator_draws_them():
    task, examples = drawn(words=7, hops=4, queries=5, length=29)
    generator = random.Random(0)
    others = [published(generator, most=7, hops=4, queries=5) for _ in range(4000)]
    ours = counted(sizes_of(task, examples), 8)
    theirs = counted([size for size, _ in others], 8)
    assert ours[:3].sum() == theirs[:3].sum() == 0
    # two samples of one law: the difference of the counts has the variance of their sum
    assert ((ours - theirs)[3:] ** 2 / (ours + theirs)[3:]).sum() < 4 + 4 * 8**0.5
    weights = 1 / (np.arange(3, 8) + 7**0.5)
    assert abs(excess(ours[3:], weights / weights.sum())) < 4
    wrong = 1 / np.arange(3, 8)
    assert excess(ours[3:], wrong / wrong.sum()) > 10
    row, time = np.nonzero(examples.targets != IGNORE)
    itself = examples.targets[row, time] == examples.inputs[row, time]
    mine = Counter(zip(examples.slices["hops"][row, time].tolist(), itself.tolist(), strict=True))
    yours = Counter(pair for _, asked in others for pair in asked)
    assert set(mine) == set(yours) == {(1, False), (2, False), (3, False), (3, True), (4, False), (4, True)}
    assert sum((mine[pair] - yours[pair]) ** 2 / (mine[pair] + yours[pair]) for pair in mine) < 5 + 4 * 10**0.5


def test_each_cycle_of_the_words_is_as_likely_and_so_is_each_order_of_its_edges():
    _, examples = drawn(6000, words=4, queries=1, hops=1, length=11, test=True)
    edges = examples.inputs[:, :8].reshape(-1, 4, 2)
    counts = Counter(map(tuple, examples.inputs[:, :8].tolist()))
    assert len(counts) == 6 * 24  # cycles of four words, and orders of four edges
    assert abs(excess(list(counts.values()), np.full(144, 1 / 144))) < 4
    asked = (edges[:, :, 0] == examples.inputs[:, 9:10]).argmax(axis=1)
    assert abs(excess(counted(asked, 4), np.full(4, 1 / 4))) < 4


def test_hops_are_drawn_evenly_and_words_from_all():
    task, examples = drawn()
    steps = examples.slices["hops"]
    assert abs(excess(counted(steps[steps > 0], 5)[1:], np.full(4, 1 / 4))) < 4
    assert abs(excess(counted(examples.inputs[:, :2], 17)[:16], np.full(16, 1 / 16))) < 4
    assert sizes_of(task, examples).min() == 3


@pytest.mark.parametrize(("words", "queries"), [(40, 1), (40, 4), (40, 10), (6, 10)])
def test_the_test_has_the_longest_cycle_that_fits(words, queries):
    for length in range(6 + 3 * min(3, queries), 70):
        longest = max(n for n in range(3, words + 1) if 2 * n + 3 * min(n, queries) <= length)
        task, examples = drawn(2, words=words, queries=queries, length=length, test=True)
        assert sizes_of(task, examples).tolist() == [longest] * 2
        assert (np.count_nonzero(examples.targets != IGNORE, axis=1) == min(longest, queries)).all()
    assert drawn(1, test=True)[1].inputs.max() < 16 + 4  # the default has sixteen words and no filler


def test_a_guess_is_none_that_cannot_be():
    task, examples = drawn(2000, test=True)
    row, time = np.nonzero(examples.targets != IGNORE)
    guesses = task.guess(examples.inputs)[row, time]
    assert (guesses != examples.inputs[row, time]).all()
    chances = []
    for one, at, guess in zip(row, time, guesses, strict=True):
        before = examples.inputs[one, 32:at]
        spent = {before[place + 2] for place in range(0, len(before) - 1, 3) if before[place] == before[-1]}
        assert guess not in spent
        # the word itself may be among the answers to the same k
        chances.append(1 / (16 - len(spent | {examples.inputs[one, at]})))
    level = np.mean(guesses == examples.targets[row, time])
    assert level == pytest.approx(np.mean(chances), abs=4 * (0.07 / len(row)) ** 0.5)
    assert np.mean(chances) == pytest.approx(0.072, abs=0.001)


def test_sizes_and_shuffles():
    sizes = draw_sizes(np.random.default_rng(0), 9, rows=50, test=True)
    assert sizes.tolist() == [9] * 50
    allowed = np.tile([True, False, True, True], (6000, 1))
    order = shuffle_allowed(np.random.default_rng(0), allowed)
    assert (order[:, 3] == 1).all()
    counts = Counter(map(tuple, order[:, :3].tolist()))
    assert len(counts) == 6
    assert abs(excess(list(counts.values()), np.full(6, 1 / 6))) < 4


def test_symbols():
    task = Hops(words=5, hops=2)
    assert " ".join(map(task.symbol, range(task.vocab_size))) == "w0 w1 w2 w3 w4 ⟨1⟩ ⟨2⟩ ·"


def test_the_first_batches_are_those_that_were_recorded():
    task = Hops()
    data = TaskData(task, "hops")
    batch = data.draw(context=task.length, batch=16, step=0, seed=0)
    first = hashlib.sha256(batch.inputs.numpy().tobytes() + batch.targets.numpy().tobytes()).hexdigest()
    assert f"{first[:16]} {data.sha256[:16]}" == "7e409f1e3f82b73b c2238d4e6b86e757"
