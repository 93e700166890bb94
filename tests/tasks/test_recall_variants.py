"""The variants of multi-query associative recall, and its mixture, are drawn as its library does."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from zoo import IGNORE
from zoo.data.task_data import TaskData
from zoo.plugin.pattern import parse_call
from zoo.tasks.recall.mqar import MultiQueryRecall

from .chance import counted, excess
from .solvers import SOLVERS

VARIANTS = ["plain", "forgetting", "compositional", "stacked"]


def drawn(examples=4000, **options):
    task = MultiQueryRecall(**options)
    return task, task.draw(np.random.default_rng(0), examples, length=task.length, test=False)


def looked_up(tokens, time, width):
    """Where the token at that time, with those just before it, stands last before its query; looked for backwards."""
    query = tokens[time - width + 1 : time + 1]
    return next(end for end in range(time - 1, width - 2, -1) if tokens[end - width + 1 : end + 1] == query)


@pytest.mark.parametrize(("variant", "width"), [("plain", 1), ("forgetting", 1), ("compositional", 2)])
def test_the_answer_stands_behind_the_last_place_of_its_key(variant, width):
    _, examples = drawn(300, variant=variant, pairs=9, updates=5, length=128)
    rows = (examples.inputs.tolist(), examples.targets.tolist(), examples.slices["distance to the key"].tolist())
    for tokens, targets, distance in zip(*rows, strict=True):
        asked = [time for time, target in enumerate(targets) if target != IGNORE]
        assert len(asked) == 9
        for time in asked:
            end = looked_up(tokens, time, width)
            assert tokens[end + 1] == targets[time]
            assert distance[time] <= time - end < 2 * distance[time]
            assert distance[time].bit_count() == 1


def test_stacked_answers_by_arithmetic():
    task, examples = drawn(300, variant="stacked", pairs=5, length=24, vocab=100)
    assert task.vocab_size == 100  # 9 keys, 9 values, 81 pairs and the filler
    for tokens, targets, distance in zip(
        examples.inputs.tolist(), examples.targets, examples.slices["distance to the key"], strict=True
    ):
        given = {1 + (token - 19) // 9: (10 + (token - 19) % 9, place) for place, token in enumerate(tokens[:5])}
        assert min(tokens[:5]) >= 19
        for time, token in enumerate(tokens[5:], start=5):
            value, place = given.get(token, (IGNORE, 0))
            assert targets[time] == value
            if token:
                assert distance[time] <= time - place < 2 * distance[time]
        assert np.count_nonzero(tokens[5:]) == 5


@pytest.mark.parametrize(("variant", "slot"), [("forgetting", 2), ("compositional", 3), ("stacked", 1)])
@pytest.mark.parametrize("power", [0.01, 1.0])
def test_the_first_query_falls_into_slot_i_in_proportion_to_a_power_of_i(variant, slot, power):
    task, examples = drawn(variant=variant, power=power, length=64, updates=2)
    context = {"forgetting": 12, "compositional": 12, "stacked": 4}[variant]
    first = examples.inputs[:, : 2 if variant == "compositional" else 1]
    if variant == "stacked":
        first = 1 + (first - task.form.first_pair) // task.form.count
    rest = examples.inputs[:, context:]
    place = (rest == first[:, :1]) & (np.roll(rest, -1, axis=1) == first[:, -1:] if first.shape[1] == 2 else True)
    place = place.argmax(axis=1)
    assert (place % slot == 0).all()
    slots = (64 - context) // slot
    weights = np.arange(1, slots + 1) ** (power - 1)
    assert abs(excess(counted(place // slot, slots), weights / weights.sum())) < 4
    wrong = np.arange(1, slots + 1) ** (power - 1.3)
    assert excess(counted(place // slot, slots), wrong / wrong.sum()) > 10


def test_updates_choose_keys_evenly_and_give_any_other_value():
    _, examples = drawn(20_000, variant="forgetting", pairs=5, updates=2, length=40, vocab=41)
    keys, values = examples.inputs[:, 0:14:2], examples.inputs[:, 1:14:2]
    which = (keys[:, 5:, None] == keys[:, None, :5]).argmax(axis=2)
    assert (np.take_along_axis(keys, which, axis=1) == keys[:, 5:]).all()
    orders = counted(which[:, 0] * 5 + which[:, 1], 25).reshape(5, 5)
    assert not orders.diagonal().any()
    assert abs(excess(orders[~np.eye(5, dtype=bool)], np.full(20, 1 / 20))) < 4
    ahead = (values[:, 5:] - np.take_along_axis(values, which, axis=1)) % 21  # of 21 values, 20 to 40
    assert abs(excess(counted(ahead, 21)[1:], np.full(20, 1 / 20))) < 4
    assert counted(ahead, 21)[0] == 0
    assert abs(excess(counted(values[:, 5:], 41)[20:], np.full(21, 1 / 21))) < 4


def test_the_slice_tells_which_keys_were_updated():
    _, examples = drawn(200, variant="forgetting", pairs=5, updates=2, length=40)
    for tokens, targets, times in zip(
        examples.inputs.tolist(), examples.targets, examples.slices["values of the key"], strict=True
    ):
        expected = [
            tokens[:14:2].count(token) if target != IGNORE else 0 for token, target in zip(tokens, targets, strict=True)
        ]
        assert times.tolist() == expected
        assert sorted(time for time in expected if time) == [1, 1, 1, 2, 2]


def test_compositional_pairs_are_a_grid_in_any_order():
    _, examples = drawn(20_000, variant="compositional", pairs=4, length=24, vocab=29)
    first, second, values = (examples.inputs[:, part:12:3] for part in range(3))
    assert (first.min(), first.max()) == (1, 8)
    assert (second.min(), second.max()) == (9, 17)
    assert (values.min(), values.max()) == (18, 28)
    for part, low, high in ((first, 1, 9), (second, 9, 18), (values, 18, 29)):
        share = np.full(high - low, 1 / (high - low))
        assert abs(excess(counted(part[:, 0], high)[low:], share)) < 4
    cells = np.sort(first * 100 + second, axis=1)
    assert (np.diff(cells, axis=1) > 0).all()
    assert (np.diff(np.sort(values, axis=1), axis=1) > 0).all()
    for part in (first, second):  # each key comes twice: alone it leaves two values
        assert ((part[:, :, None] == part[:, None]).sum(axis=2) == 2).all()
    # In which later pair the first key of the first pair comes again: any of three.
    again = (first[:, 1:] == first[:, :1]).argmax(axis=1)
    assert abs(excess(counted(again, 3), np.full(3, 1 / 3))) < 4


def test_all_stacked_pairs_are_as_likely():
    _, examples = drawn(20_000, variant="stacked", pairs=2, length=8, vocab=25)  # 4 keys, 4 values
    assert abs(excess(counted(examples.inputs[:, :2], 25)[9:], np.full(16, 1 / 16))) < 4
    keys, values = np.divmod(examples.inputs[:, :2] - 9, 4)
    assert (keys[:, 0] != keys[:, 1]).all()
    assert (values[:, 0] != values[:, 1]).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_guesses_are_values_that_count_still(variant):
    task, examples = drawn(2000, variant=variant, vocab=400, length=64)
    guesses = task.guess(examples.inputs)
    for said, targets in zip(guesses, examples.targets, strict=True):
        assert set(said.tolist()) <= set(targets[targets != IGNORE].tolist())
    right = (guesses == examples.targets)[examples.targets != IGNORE]
    assert right.mean() == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / right.size) ** 0.5 + 0.005)


@pytest.mark.parametrize("variant", ["plain", "forgetting", "compositional"])
def test_the_mixture_trains_five_cells_and_fills_up(variant):
    options = {"variant": variant, "mixture": True, "length": 256, "test_lengths": (64, 128, 512)}
    task, examples = drawn(9000, **options)
    last = (9, 16, 25, 36) if variant != "plain" else (8, 16, 32, 64)
    count = np.count_nonzero(examples.targets != IGNORE, axis=1)
    assert np.array_equal(count, examples.slices["pairs"])
    shares = [np.count_nonzero(count == pairs) for pairs in (4, *last)]
    assert sum(shares) == 9000
    assert abs(excess(shares, np.array([5, 1, 1, 1, 1]) / 9)) < 4
    for pairs, length in ((4, 64), (last[0], 128)):
        assert not examples.inputs[count == pairs, length:].any()
        assert examples.inputs[count == pairs, length - 12 : length].any()
    at_128 = task.draw(np.random.default_rng(0), 500, length=128, test=False)
    assert set(at_128.slices["pairs"].tolist()) == {4, last[0]}
    tested = {64: {4, 9}, 128: {16}, 256: {36}, 512: {64}}
    tested = {64: {4, 8, 16}, 128: {32}, 256: {64}, 512: {128}} if variant == "plain" else tested
    for length, pairs in tested.items():
        test = task.draw(np.random.default_rng(0), 60, length=length, test=True)
        assert set(test.slices["pairs"].tolist()) == pairs
    right = (task.guess(examples.inputs) == examples.targets)[count == last[1]]
    assert right.sum(axis=1).mean() == pytest.approx(1, abs=0.2)  # one of the pairs, whatever their number
    assert task.test_examples == 1000


@pytest.mark.parametrize(
    ("options", "tokens", "symbols"),
    [
        ({"variant": "forgetting", "vocab": 100}, (0, 1, 49, 50, 99), "· k1 k49 v0 v49"),
        ({"variant": "compositional", "vocab": 100}, (0, 1, 32, 33, 65, 66, 99), "· a1 a32 b0 b32 v0 v33"),
        ({"variant": "stacked", "vocab": 30}, (0, 1, 4, 5, 8, 9, 24), "· k1 k4 v0 v3 k1v0 k4v3"),
    ],
)
def test_symbols(options, tokens, symbols):
    task = MultiQueryRecall(**options)
    assert " ".join(map(task.symbol, tokens)) == symbols
    every = [task.symbol(token) for token in range(task.vocab_size)]
    assert len(set(every)) == len(every)


def test_the_page_shows_each_variant_with_right_answers():
    page = (Path(__file__).parents[2] / "docs/tasks.md").read_text(encoding="utf-8")
    shown = re.findall(r"^  (mqar\(variant=.+)\n  reads +(.+)\n  answers +(.+)\n", page, re.MULTILINE)
    calls = [(parse_call(call).keywords, reads.split(), answers.split()) for call, reads, answers in shown]
    assert [options["variant"] for options, *_ in calls] == VARIANTS[1:]
    for options, symbols, answers in calls:
        assert len(symbols) == len(answers) == MultiQueryRecall(**options).length
        said = {time: answer for time, answer in enumerate(answers) if answer != "_"}
        assert SOLVERS["mqar"](symbols, **options) == said


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "2501fbe869125cc6 4ef78c390893f6a2"),
        (
            {"pairs": 3, "length": 32, "vocab": 77, "random_filler": True, "power": 0.5},
            "ee4c169b1ffcb2d7 f35f91ffde3c5448",
        ),
        ({"variant": "forgetting"}, "0aab750d6c6eed78 21d1ee8cd835a8ce"),
        ({"variant": "compositional"}, "48389e3c3f31f5fd 2cf3758b1371b51b"),
        ({"variant": "stacked", "vocab": 289}, "3a169bc0141cc086 bd4d8b23a9c08f1b"),
        ({"mixture": True, "length": 128}, "584733496ebef672 5cec45e07dbdf80b"),
        ({"mixture": True, "length": 128, "variant": "forgetting"}, "7d678a73d6bf1108 074c92f9b579ee46"),
    ],
)
def test_the_first_batch_and_the_test_are_what_they_were(options, expected):
    assert digests(MultiQueryRecall(**options), "mqar") == expected


def digests(task, name):
    """The beginnings of the checksums of the first batch of training, and of the test."""
    data = TaskData(task, name)
    batch = data.draw(context=task.length, batch=16, step=0, seed=0)
    first = hashlib.sha256(batch.inputs.numpy().tobytes() + batch.targets.numpy().tobytes()).hexdigest()
    return f"{first[:16]} {data.sha256[:16]}"
