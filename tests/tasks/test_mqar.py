"""Multi-query associative recall is drawn as its paper says."""

import numpy as np
import pytest

from zoo import IGNORE
from zoo.tasks.recall.mqar import MultiQueryRecall

from .chance import counted, excess


def drawn(examples=20_000, **options):
    task = MultiQueryRecall(**options)
    return task.draw(np.random.default_rng(0), examples, length=task.length, test=False)


def asked(examples):
    """For each example the positions that are asked, in order, ``(b, pairs)``."""
    return np.nonzero(examples.targets != IGNORE)[1].reshape(len(examples.inputs), -1)


def test_keys_come_from_the_lower_half_and_values_from_the_upper():
    examples = drawn(vocab=65, pairs=4, length=64)
    keys, values = examples.inputs[:, 0:8:2], examples.inputs[:, 1:8:2]
    assert abs(excess(counted(keys, 32)[1:], np.full(31, 1 / 31))) < 4  # 1..31; 0 is filler
    assert counted(keys, 32)[0] == 0
    assert abs(excess(counted(values, 65)[32:], np.full(33, 1 / 33))) < 4  # 32..64
    assert values.min() == 32
    for drawn_once in (keys, values):
        assert (np.diff(np.sort(drawn_once, axis=1), axis=1) > 0).all()


def test_all_but_pairs_and_queries_is_filler():
    examples = drawn(examples=500)
    rest = examples.inputs[:, 8:]
    assert ((rest != 0) == (examples.targets[:, 8:] != IGNORE)).all()
    assert (np.count_nonzero(rest, axis=1) == 4).all()
    assert (examples.targets[:, :8] == IGNORE).all()


@pytest.mark.parametrize("power", [0.01, 0.6, 1.0])
def test_the_first_key_falls_into_slot_i_in_proportion_to_a_power_of_i(power):
    examples = drawn(power=power, pairs=2, length=64, vocab=128)
    query = np.argmax(examples.inputs[:, 4:] == examples.inputs[:, :1], axis=1)
    assert (query % 2 == 0).all()
    weights = np.arange(1, 31) ** (power - 1.0)
    counts = counted(query // 2, 30)
    assert abs(excess(counts, weights / weights.sum())) < 4
    wrong = np.arange(1, 31) ** (power - 1.2)
    assert excess(counts, wrong / wrong.sum()) > 10


def test_later_keys_take_what_is_left():
    examples = drawn(pairs=2, length=12, vocab=64)  # 4 slots
    first, second = (np.argmax(examples.inputs[:, 4:] == examples.inputs[:, [place]], axis=1) // 2 for place in (0, 2))
    weights = np.arange(1, 5) ** (0.01 - 1)
    weights /= weights.sum()
    both = [(i, j) for i in range(4) for j in range(4) if i != j]
    counts = counted(first * 4 + second, 16)
    probabilities = [weights[i] * weights[j] / (1 - weights[i]) for i, j in both]
    assert abs(excess([counts[4 * i + j] for i, j in both], probabilities)) < 4


def test_random_filler_is_drawn_from_everything_and_changes_nothing_else():
    examples = drawn(random_filler=True, pairs=2, length=32, vocab=40)
    plain = drawn(random_filler=False, pairs=2, length=32, vocab=40)
    assert np.array_equal(examples.targets, plain.targets)
    filler = plain.inputs == 0
    assert np.array_equal(examples.inputs[~filler], plain.inputs[~filler])
    assert abs(excess(counted(examples.inputs[filler], 40), np.full(40, 1 / 40))) < 4
    collides = (examples.inputs[:, 4:, None] == examples.inputs[:, None, :4:2]).any(axis=2) & filler[:, 4:]
    assert collides.any()  # as the docstring warns


def test_slices_tell_the_distance_from_query_to_key():
    examples = drawn(examples=300)
    for tokens, targets, distance in zip(
        examples.inputs, examples.targets, examples.slices["distance to the key"], strict=True
    ):
        for time in range(64):
            if targets[time] == IGNORE:
                assert distance[time] == 0
            else:
                away = time - tokens.tolist().index(tokens[time])
                assert distance[time] <= away < 2 * distance[time]
                assert distance[time].item().bit_count() == 1


def test_positions_that_are_asked_are_spread_over_the_length():
    assert asked(drawn(power=1.0, examples=2000)).max() == 62
    assert asked(drawn(power=1.0, examples=2000)).min() == 8


def test_symbols():
    task = MultiQueryRecall(vocab=100)
    assert [task.symbol(token) for token in (0, 1, 49, 50, 99)] == ["·", "k1", "k49", "v0", "v49"]
