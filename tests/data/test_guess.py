"""What guessing gives is what a person counts by hand."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from zoo import IGNORE, Examples, Task
from zoo.data.guess import most_seen
from zoo.data.load import load_source
from zoo.data.task_data import TaskData
from zoo.errors import PluginError
from zoo.tasks.plugin import zoo_tasks

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")


def levels(data, *lengths):
    source = load_source(data, tokenizer="byte", validation_fraction=0.1)
    return source.guess_levels(lengths or (source.task.length,))


def by_hand(row, wanted, otherwise):
    """The wanted token with the highest count so far; of several, the first that had it."""
    said, counts, best = [], Counter(), otherwise
    for token in row:
        counts[token] += 1
        if token in wanted and (best not in counts or best not in wanted or counts[token] > counts[best]):
            best = token
        said.append(best)
    return said


@pytest.mark.parametrize("seed", range(20))
def test_the_most_seen_token_is_what_a_count_says(seed):
    generator = np.random.default_rng(seed)
    inputs = generator.integers(6, size=(5, 17))
    wanted = generator.random(6) < 0.6
    said = most_seen(inputs, wanted, 5)
    assert said.tolist() == [by_hand(row, set(np.flatnonzero(wanted)), 5) for row in inputs.tolist()]


@pytest.mark.parametrize("pairs", [1, 2, 4])
def test_one_of_so_many_pairs(pairs):
    """Each value comes once: whoever does not look at the keys is right in one of so many cases, at every distance."""
    found = levels(f"mqar(vocab=64, pairs={pairs}, length=16)")
    assert found["length"]["16"] == pytest.approx(1 / pairs, abs=0.015)
    for level in found["distance to the key"].values():
        assert level == pytest.approx(1 / pairs, abs=0.06)


def test_there_is_a_level_for_each_length_and_the_slices_are_those_of_the_last():
    found = levels("parity(length=6, test_lengths=(4, 9))", 6, 4, 9)
    assert list(found["length"]) == ["6", "4", "9"]
    assert list(found["position"]) == [str(position) for position in range(1, 10)]
    assert found["position"]["1"] == 1.0  # the parity of one bit is the bit
    assert found["length"]["9"] == pytest.approx(0.5, abs=0.06)


def test_a_text_has_none(tmp_path):
    (tmp_path / "text.txt").write_text("word " * 400)
    assert load_source(str(tmp_path / "text.txt"), tokenizer="byte", validation_fraction=0.1).guess_levels((8,)) == {}


class Uneven(Task):
    """Three of four answers are 1, the others 0; the sequence shows neither."""

    vocab_size, length, disjoint = 4, 4, False
    test_examples = 2000

    def draw(self, generator, examples, *, length, test):
        inputs = generator.integers(2, 4, size=(examples, length))
        targets = np.full_like(inputs, IGNORE)
        targets[:, -1] = generator.random(examples) < 0.75
        return Examples(inputs, targets)


class Own(Uneven):
    def guess(self, inputs):
        return np.zeros_like(inputs)


class Wrong(Uneven):
    def guess(self, inputs):
        return np.zeros(3)


class Failing(Uneven):
    def guess(self, inputs):
        raise RuntimeError("no idea")


def test_the_answer_that_is_asked_for_most_and_a_guesser_of_the_task_s_own():
    assert TaskData(Uneven(), "uneven").guess_levels((4,)) == {"length": {"4": pytest.approx(0.75, abs=0.03)}}
    assert TaskData(Own(), "own").guess_levels((4,)) == {"length": {"4": pytest.approx(0.25, abs=0.03)}}


def test_a_guesser_that_is_broken_is_its_plugin_s_fault():
    with pytest.raises(PluginError, match=r"^the task wrong guessed \(3,\) for inputs of \(256, 4\) \(b, t\)$"):
        TaskData(Wrong(), "wrong").guess_levels((4,))
    with pytest.raises(PluginError, match=r"^the task failing failed to guess: RuntimeError: no idea$"):
        TaskData(Failing(), "failing").guess_levels((4,))


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo_tasks())
def test_the_page_tells_the_level_of_the_default_options(name):
    (percent,) = re.findall(rf"^\| \[`{name}`\].*\| (\d+) % \|$", PAGE, re.MULTILINE)
    assert f"{100 * next(iter(levels(name)['length'].values())):.0f}" == percent
