"""Flip-flop languages are drawn as their papers say, and what is read is what was written."""

import hashlib
import re
from collections import defaultdict

import numpy as np
import pytest

from zoo import IGNORE
from zoo.data.task_data import TaskData
from zoo.tasks.state.flip_flop import FlipFlop, UndoFlipFlop

from .chance import counted, excess


def drawn(task, examples, *, length=None, test=False):
    return task.draw(np.random.default_rng(0), examples, length=length or task.length, test=test)


def rows(task, examples):
    """Each sequence as one text, with its targets and slices by position."""
    for row, tokens in enumerate(examples.inputs):
        slices = {name: values[row] for name, values in examples.slices.items()}
        yield "".join(map(task.symbol, tokens)), examples.targets[row], slices


def hashes(task, name):
    """Of the first batch of training, and of the test."""
    data = TaskData(task, name)
    batch = data.draw(context=task.length, batch=16, step=0, seed=0)
    first = hashlib.sha256(batch.inputs.numpy().tobytes() + batch.targets.numpy().tobytes()).hexdigest()
    return f"{first[:16]} {data.sha256[:16]}"


def accuracy(task, examples):
    asked = examples.targets != IGNORE if examples.scored is None else examples.scored
    return np.mean(task.guess(examples.inputs)[asked] == examples.targets[asked])


@pytest.mark.parametrize(("test", "ignore"), [(False, 0.8), (True, 0.98)])
def test_instructions_come_with_their_probabilities(test, ignore):
    examples = drawn(FlipFlop(test_ignore=0.98), 1500, test=test)
    instructions = examples.inputs[:, 2:-2:2]  # of the first and the last none is drawn
    write = (1 - ignore) / 2
    assert abs(excess(counted(instructions, 5)[2:], [write, ignore, write])) < 4
    assert excess(counted(instructions, 5)[2:], [write + 0.01, ignore - 0.02, write + 0.01]) > 10
    assert (examples.inputs[:, 0] == 4).all()
    assert (examples.inputs[:, -2] == 2).all()
    given = examples.inputs[:, 1::2][examples.inputs[:, 0::2] != 2]
    assert abs(excess(counted(given, 2), [0.5, 0.5])) < 4


def test_training_knows_nothing_of_the_test():
    plain, sparse = (drawn(FlipFlop(test_ignore=ignore), 50) for ignore in (None, 0.98))
    assert np.array_equal(plain.inputs, sparse.inputs)
    assert not np.array_equal(*(drawn(FlipFlop(test_ignore=x), 50, test=True).inputs for x in (None, 0.98)))


def test_a_read_gives_the_last_write_of_the_text():
    task = FlipFlop(length=40, ignore=0.4)
    for text, targets, slices in rows(task, drawn(task, 300)):
        for time in range(40):
            if text[time] != "r":
                assert targets[time] == IGNORE
                continue
            write = text.rindex("w", 0, time)
            assert task.symbol(targets[time]) == text[write + 1] == text[time + 1]
            distance = slices["distance to the write"][time]
            assert distance <= time - write < 2 * distance


def undone(text):
    """What is left of a text of w, u and bits when every u and its write are taken out, the innermost first."""
    while (shorter := re.sub("w[01]u", "", text)) != text:
        text = shorter
    return text


def last_standing(text):
    """The number of the write that is left last, counted from 0: each gets its number in the place of its bit."""
    parts = re.split("w[01]", text)
    text = parts[0] + "".join(f"w{number} {part}" for number, part in enumerate(parts[1:]))
    while (shorter := re.sub(r"w\d+ u", "", text)) != text:
        text = shorter
    return int(text.split("w")[-1])


@pytest.mark.parametrize("options", [{}, {"ignore": 0.1, "read": 0.3, "undo": 0.3}, {"test_undos": 7}])
@pytest.mark.parametrize("test", [False, True])
def test_a_read_gives_the_last_write_that_is_not_undone(options, test):
    task = UndoFlipFlop(length=37, **options)
    for text, targets, slices in rows(task, drawn(task, 100, test=test)):
        for time in range(37):
            # a bit follows w and i alone, so that what is an r is no bit
            if text[time] != "r":
                assert targets[time] == IGNORE
                continue
            before = re.sub("i[01]|r", "", text[:time])
            standing = undone(before)
            assert task.symbol(targets[time]) == standing[-1]
            number = last_standing(before)
            assert slices["write counted back"][time] == before.count("w") - number
            write = [place.start() for place in re.finditer("w", text)][number]
            distance = slices["distance to the write"][time]
            assert distance <= time - write < 2 * distance


def exact_shares(length, ignore, read, undo):
    """The probability of each kind of token at each place, by going through all states: ``(t, 5)``; bits are 4."""
    states, shares = {(0, 0): 1.0}, np.zeros((length, 5))  # the writes that stand, and the bits that are due
    for time in range(length):
        following = defaultdict(float)
        for (standing, due), share in states.items():
            options = {"w": 1.0}
            if due:
                options = {"bit": 1.0}
            elif time == length - 1:
                options = {"r": 1.0}
            elif time > 0:
                options = {"i": ignore, "r": read, "u": undo, "w": 1 - ignore - read - undo}
                if standing == 1:
                    options["w"] += options.pop("u")
                if time == length - 2:
                    options = {name: value for name, value in options.items() if name in "ru"}
            for name, weight in options.items():
                chance = share * weight / sum(options.values())
                shares[time, ["i", "r", "u", "w", "bit"].index(name)] += chance
                following[standing + (name == "w") - (name == "u"), int(name in "iw")] += chance
        states = following
    return shares


@pytest.mark.parametrize("options", [{}, {"ignore": 0.2, "read": 0.3, "undo": 0.3}])
def test_instructions_with_undo_come_as_in_the_generator_of_the_paper(options):
    task = UndoFlipFlop(length=12, **options)
    examples = drawn(task, 60_000)
    shares = exact_shares(12, task.ignore, task.read, task.undo)
    kinds = np.array([4, 4, 1, 0, 3, 2])[examples.inputs]  # of 0, 1, r, i, w and u
    for time in range(12):
        there = shares[time] * 60_000 >= 5
        counts = counted(kinds[:, time], 5)
        assert counts[~there].sum() <= 20
        if there.sum() > 1:
            assert abs(excess(counts[there], shares[time][there] / shares[time][there].sum())) < 5
    wrong = exact_shares(12, task.ignore, task.read, task.undo / 2)
    assert excess(counted(kinds[:, 8], 5), wrong[8]) > 8
    bits = examples.inputs[kinds == 4]
    assert abs(excess(counted(bits, 2), [0.5, 0.5])) < 4


@pytest.mark.parametrize(("length", "undos"), [(50, 10), (33, 10), (100, 10)])
def test_undos_in_a_row_are_those_of_the_paper(length, undos):
    task = UndoFlipFlop(length=length, test_undos=undos)
    for text, targets, _ in rows(task, drawn(task, 50, test=True)):
        assert re.fullmatch(f"(w[01]){{{undos + 1}}}u{{{undos}}}r?(i[01])*r", text)
        assert task.symbol(targets[-1]) == text[1]
    assert np.array_equal(drawn(task, 9).inputs, drawn(UndoFlipFlop(length=length), 9).inputs)  # training is the same


@pytest.mark.parametrize(
    ("task", "share"),
    [
        (FlipFlop(), 0.70),
        (FlipFlop(test_ignore=0.98), 0.85),
        (FlipFlop(test_ignore=0.1), 0.95),
        (UndoFlipFlop(), 0.775),
    ],
)
def test_guessing_reaches_what_the_documentation_says(task, share):
    assert accuracy(task, drawn(task, 3000, test=True)) == pytest.approx(share, abs=0.012)


@pytest.mark.parametrize(
    ("name", "task", "recorded"),
    [
        ("flip-flop", FlipFlop(), "f6638fcfbd62b366 eb83d2fcdc236001"),
        ("flip-flop(test_ignore=0.98)", FlipFlop(test_ignore=0.98), "f6638fcfbd62b366 c07ce1937797e584"),
        ("flip-flop(test_ignore=0.1)", FlipFlop(test_ignore=0.1), "f6638fcfbd62b366 00a826595d71921d"),
        ("undo-flip-flop", UndoFlipFlop(), "88e576be545779b9 9c46873038ef61d0"),
        ("undo-flip-flop(test_undos=10)", UndoFlipFlop(test_undos=10), "88e576be545779b9 67ddffc59fe0e6c3"),
    ],
)
def test_the_first_batch_and_the_test_are_recorded(name, task, recorded):
    assert hashes(task, name) == recorded
