"""The tasks of MAD are drawn as its definitions say."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from zoo.tasks.mad.fuzzy_recall import FuzzyRecall
from zoo.tasks.mad.memorization import Memorization
from zoo.tasks.mad.recall import InContextRecall, NoisyRecall
from zoo.tasks.mad.selective_copying import SelectiveCopying

from .chance import counted, excess
from .solvers.lab import run_of


def drawn(task, examples=2000, *, test=False, seed=0):
    return task.draw(np.random.default_rng(seed), examples, length=task.length, test=test)


def symbols_of(task, examples):
    return [[task.symbol(token) for token in row] for row in examples.inputs.tolist()]


def test_recall_draws_keys_with_replacement_and_gives_them_any_value():
    examples = drawn(InContextRecall())
    keys, values = examples.inputs[:, 0:-2:2], examples.inputs[:, 1:-2:2]
    assert abs(excess(counted(keys, 8), np.full(8, 1 / 8))) < 4
    assert counted(values, 16)[:8].sum() == 0
    pairs = np.unique(np.stack([np.repeat(np.arange(2000), 63), keys.ravel(), values.ravel()]), axis=1)
    assert abs(excess(counted(pairs[2], 16)[8:], np.full(8, 1 / 8))) < 4
    assert len(pairs[0]) <= 2000 * 8  # one value a key and sequence


def test_the_last_key_is_one_of_those_before_each_as_likely():
    task = InContextRecall(length=8, vocab=16)
    examples = drawn(task, 20_000)
    keys = examples.inputs[:, 0::2]
    assert (keys[:, -1:] == keys[:, :-1]).any(axis=1).all()
    twice = keys[(keys[:, 0] == keys[:, 1]) & (keys[:, 0] != keys[:, 2])]
    assert np.mean(twice[:, 3] == twice[:, 2]) == pytest.approx(1 / 2, abs=4 * (0.25 / len(twice)) ** 0.5)


def test_how_often_a_key_was_seen():
    task = NoisyRecall()
    examples = drawn(task, 50)
    for symbols, times, scored in zip(
        symbols_of(task, examples), examples.slices["times the key was seen"], examples.scored, strict=True
    ):
        for time, symbol in enumerate(symbols):
            expected = symbols[:time].count(symbol) if symbol[0] == "k" else 0
            assert times[time] == expected
            assert scored[time] == (expected > 0)


@pytest.mark.parametrize("noise", [0.0, 0.2, 0.8])
def test_the_share_of_noise(noise):
    task = NoisyRecall(noise=noise)
    noisy = drawn(task).inputs >= 16
    assert np.array_equal(noisy[:, 0::2], noisy[:, 1::2])
    pairs = noisy[:, 0::2]
    assert not pairs[:, -1].any()
    # Of 64 pairs the last is never noise, and one of the others neither.
    trials = 2000 * 62
    assert pairs.sum() / trials == pytest.approx(noise, abs=4 * (noise * (1 - noise) / trials) ** 0.5)
    assert (~pairs[:, :-1]).any(axis=1).all()
    spread = pairs[:, :-1].mean(axis=0)  # no place is spared more than another
    assert np.abs(spread - noise * 62 / 63).max() <= 4.5 * (noise * (1 - noise) / 2000) ** 0.5


def test_noise_has_a_vocabulary_of_its_own():
    examples = drawn(NoisyRecall())
    noise = examples.inputs[examples.inputs >= 16]
    assert abs(excess(counted(noise, 32)[16:], np.full(16, 1 / 16))) < 4
    assert not examples.scored[examples.inputs >= 16].any()


@pytest.mark.slow
@pytest.mark.parametrize("test", [False, True])
def test_fuzzy_keys_and_values_have_their_numbers_of_tokens(test):
    task = FuzzyRecall()
    first_keys, first_values = [], []
    for symbols in symbols_of(task, drawn(task, test=test)):
        begin = symbols.count("·")
        key = run_of("k", symbols[begin:])
        first_keys.append(key)
        first_values.append(run_of("v", symbols[begin + len(key) :]))
        # one pair more would not have fitted, and the last may be short while room was kept for a long one
        assert begin <= 5 + 6 - (4 if test else 2)
    sizes = Counter(map(len, first_keys))
    if test:
        assert set(sizes) == {3}
    else:
        assert abs(excess([sizes[size] for size in (1, 2, 3)], np.full(3, 1 / 3))) < 4
    assert abs(excess([Counter(map(len, first_values))[size] for size in (1, 2, 3)], np.full(3, 1 / 3))) < 4
    for size in (2, 3):
        # the first token, and the last, of a value are any: an order of 8 drawn evenly
        of_size = [value for value in first_values if len(value) == size]
        for place in (0, -1):
            counts = counted([int(value[place][1:]) for value in of_size], 8)
            assert abs(excess(counts, np.full(8, 1 / 8))) < 4


def test_fuzzy_values_are_all_orders_alike():
    task = FuzzyRecall(vocab=7, key_tokens=2, value_tokens=2, length=16)
    orders = list(permutations(["v0", "v1", "v2"], 2))
    seen = Counter()
    for symbols in symbols_of(task, drawn(task, 5000)):
        begin = symbols.count("·")
        seen[run_of("v", symbols[begin + len(run_of("k", symbols[begin:])) :])] += 1
    assert abs(excess([seen[order] for order in orders], np.full(6, 1 / 6))) < 4


def test_the_last_fuzzy_key_is_one_of_those_before_each_as_likely():
    task = FuzzyRecall(length=8, vocab=5, key_tokens=1, value_tokens=1)
    keys = drawn(task, 20_000).inputs[:, 0::2]
    assert (keys[:, -1:] == keys[:, :-1]).any(axis=1).all()
    twice = keys[(keys[:, 0] == keys[:, 1]) & (keys[:, 0] != keys[:, 2])]
    assert np.mean(twice[:, 3] == twice[:, 2]) == pytest.approx(1 / 2, abs=4 * (0.25 / len(twice)) ** 0.5)


def test_fuzzy_slices_tell_which_token_of_the_value_and_how_often_its_key_was_seen():
    task = FuzzyRecall()
    examples = drawn(task, 100)
    for row, symbols in enumerate(symbols_of(task, examples)):
        times, place, seen, time = np.zeros(128), np.zeros(128), Counter(), symbols.count("·")
        while time < 128:
            key = run_of("k", symbols[time:])
            value = run_of("v", symbols[time + len(key) :])
            time += len(key)
            for count, _ in enumerate(value, start=1):
                times[time - 2 + count], place[time - 2 + count] = seen[key], count if seen[key] else 0
            seen[key] += 1
            time += len(value)
        assert examples.slices["times the key was seen"][row].tolist() == times.tolist()
        assert examples.slices["token of the value"][row].tolist() == place.tolist()
        assert examples.scored[row].tolist() == (times > 0).tolist()


def test_blanks_go_in_front_of_any_token_alike():
    task = SelectiveCopying(copy=4, length=29)  # 20 blanks
    inputs = drawn(task, 4000).inputs
    assert (inputs[:, 23] < 14).all()  # the last token to copy is right before ⟨copy⟩
    assert (inputs[:, 24] == 15).all()
    gaps = np.diff(np.nonzero(inputs[:, :24] < 14)[1].reshape(-1, 4), axis=1, prepend=-1) - 1
    assert (gaps.sum(axis=1) == 20).all()
    assert abs(excess(gaps.sum(axis=0), np.full(4, 1 / 4))) < 4
    # binomial with 20 trials: mean 5, variance 20/4 * 3/4
    assert np.var(gaps[:, 0]) == pytest.approx(3.75, rel=0.1)
    assert abs(excess(counted(inputs[inputs < 14], 14), np.full(14, 1 / 14))) < 4


def test_the_facts_are_fixed_by_their_seed_and_every_key_has_its_own():
    first, again, other = (Memorization(seed=seed, vocab=101) for seed in (1, 1, 2))
    facts = []
    for task, seed in ((first, 0), (again, 7), (other, 0)):
        examples = drawn(task, seed=seed)
        keys, values = examples.inputs[:, 0::2].ravel(), examples.targets[:, 1::2].ravel()
        known = dict(zip(keys.tolist(), values.tolist(), strict=True))
        assert all(known[key] == value for key, value in zip(keys.tolist(), values.tolist(), strict=True))
        facts.append(known)
    assert facts[0] == facts[1] != facts[2]
    assert sorted(facts[0]) == list(range(50))
    assert sorted(facts[0].values()) == list(range(50, 100))
    assert abs(excess(counted(keys, 50), np.full(50, 1 / 50))) < 4


@pytest.mark.parametrize(
    ("task", "tokens", "symbols"),
    [
        (InContextRecall(vocab=9), (0, 3, 4, 8), "k0 k3 v0 v4"),
        (NoisyRecall(vocab=12, noise_vocab=4), (3, 4, 7, 8, 11), "k3 v0 v3 n0 n3"),
        (FuzzyRecall(vocab=16), (0, 6, 7, 14, 15), "k0 k6 v0 v7 ·"),
        (SelectiveCopying(), (0, 13, 14, 15), "0 13 · ⟨copy⟩"),
        (Memorization(vocab=256), (0, 126, 127, 254, 255), "k0 k126 v0 v127 ⟨insert⟩"),
    ],
)
def test_symbols(task, tokens, symbols):
    assert " ".join(map(task.symbol, tokens)) == symbols


@pytest.mark.parametrize(("task", "share"), [(InContextRecall(), 0.32), (NoisyRecall(), 0.32), (FuzzyRecall(), 0.19)])
def test_who_only_counts_values_reaches_what_the_documentation_says(task, share):
    """The answer is always the value token that came most often so far."""
    examples = drawn(task, 1500, test=True)
    is_value = np.array([task.symbol(token).startswith("v") for token in range(task.vocab_size)])
    one_hot = np.eye(task.vocab_size, dtype=np.int16)[examples.inputs] * is_value
    right = one_hot.cumsum(axis=1).argmax(axis=2) == examples.targets
    assert right[examples.scored].mean() == pytest.approx(share, abs=0.012)
