"""Strings are copied and looked up as published, and the places that are asked for are drawn as the page says."""

import hashlib
import re
from collections import Counter

import numpy as np
import pytest

from zoo import IGNORE
from zoo.data.task_data import TaskData
from zoo.tasks.in_context.copying import Copy
from zoo.tasks.in_context.ngram_lookup import NGramLookup, come_once

from .chance import counted, excess


def drawn(task, examples=3000, *, test=False, length=None):
    return task.draw(np.random.default_rng(0), examples, length=length or task.length, test=test)


def texts(task, examples):
    return ["".join(map(task.symbol, tokens)).rstrip("·") for tokens in examples.inputs.tolist()]


def answers(task, examples):
    """What is asked for in each sequence, and what of it counts."""
    for targets, scored in zip(examples.targets, examples.scored, strict=True):
        (asked,), (counts,) = np.nonzero(targets != IGNORE), np.nonzero(scored)
        assert (np.diff(asked) == 1).all()
        assert counts.tolist() == asked[:-1].tolist()  # all but the dot
        yield int(asked[0]), "".join(task.symbol(target) for target in targets[asked].tolist())


@pytest.mark.parametrize("test", [False, True])
@pytest.mark.parametrize("length", [103, 40, 6])
def test_the_string_is_asked_for_from_the_mark_on(length, test):
    task = Copy(test_lengths=(40, 6))
    examples = drawn(task, 200, test=test, length=length)
    for text, (begin, answer) in zip(texts(task, examples), answers(task, examples), strict=True):
        assert re.fullmatch(r"\$([a-z]+)\|\1\.", text)
        assert text[begin] == "|"
        assert text[begin + 1 :] == answer == text[1:begin] + "."


@pytest.mark.parametrize("test", [False, True])
@pytest.mark.parametrize("options", [{}, {"key": 1, "answer": 1, "length": 20}, {"letters": 15, "answer": 5}])
@pytest.mark.parametrize("order", ["suffix", "prefix"])
def test_what_follows_the_only_place_of_the_key_is_asked_for(order, options, test):
    task = NGramLookup(order=order, **options, test_lengths=())
    pattern = (
        r"\$(?P<string>\w+)\|(?P<key>\w{%d})\w+\." if order == "suffix" else r"\$(?P<key>\w+)\|(?P<string>\w+)\|\w+\."
    )
    examples = drawn(task, 300, test=test)
    for i, (text, (begin, answer)) in enumerate(zip(texts(task, examples), answers(task, examples), strict=True)):
        parts = re.fullmatch(pattern.replace("%d", str(task.key)), text)
        (found,) = re.finditer(f"(?={parts['key']}(.*))", parts["string"])
        assert answer == found[1][: task.answer] + "." == text[begin + 1 :]
        assert len(answer) == task.answer + 1
        back = begin - (parts.start("string") + found.start(1))
        asked = examples.scored[i]
        assert (examples.slices["letter of the answer"][i, asked] == np.arange(1, task.answer + 1)).all()
        assert {1 << back.bit_length() - 1} == set(examples.slices["distance to the letter"][i, asked].tolist())
        for counts in examples.slices.values():
            assert (counts[i, ~asked] == 0).all()


@pytest.mark.parametrize(("letters", "count"), [(2, 1), (2, 3), (3, 2), (5, 3), (26, 1)])
def test_letters_in_a_row_that_come_once(letters, count):
    generator = np.random.default_rng(0)
    string, size = generator.integers(letters, size=(300, 12)), generator.integers(count, 13, size=300)
    for row, length, found in zip(string.tolist(), size.tolist(), come_once(string, size, count), strict=True):
        rows = [tuple(row[start : start + count]) for start in range(length - count + 1)]
        assert found[: len(rows)].tolist() == [rows.count(letters) == 1 for letters in rows]


def test_strings_have_all_sizes_in_training_and_the_most_letters_in_the_test():
    for task, least in ((Copy(length=33), 1), (NGramLookup(length=28), 5), (NGramLookup(length=29, order="prefix"), 5)):
        position = 1 if getattr(task, "order", "") == "prefix" else 0
        most = {"Copy": 15, "NGramLookup": 20}[type(task).__name__]
        size = [len(text[1:].split("|")[position]) for text in texts(task, drawn(task, 5000))]
        assert abs(excess(counted(size, most + 1)[least:], np.full(most + 1 - least, 1 / (most + 1 - least)))) < 4
        assert {len(text[1:].split("|")[position]) for text in texts(task, drawn(task, 50, test=True))} == {most}


def test_letters_are_drawn_evenly():
    for task in (Copy(length=25, letters=9), NGramLookup(length=18, letters=9, key=3, test_lengths=())):
        string = drawn(task, test=True).inputs[:, 1:10]
        assert abs(excess(counted(string[:, 4], 9), np.full(9, 1 / 9))) < 4


def test_every_key_that_comes_once_is_as_likely():
    task = NGramLookup(length=18, letters=12, key=1, answer=2, test_lengths=())  # strings of 12
    numbers = {4: [], 5: [], 6: []}
    for text in texts(task, drawn(task, 20_000, test=True)):
        string, key = text[1:13], text[14]
        once = [letter for letter in string[:10] if string.count(letter) == 1]
        if len(once) in numbers:
            numbers[len(once)].append(once.index(key))
    for count, found in numbers.items():
        assert abs(excess(counted(found, count), np.full(count, 1 / count))) < 4


@pytest.mark.parametrize("count", [1, 2, 4])
def test_letters_come_twice_at_places_that_are_drawn_evenly(count):
    task = Copy(length=29, duplicated=count)  # 13 letters
    examples = drawn(task, 8000, test=True)
    asked = examples.scored
    copies = examples.slices["copies of the letters before"][asked].reshape(-1, 13)
    assert (np.count_nonzero(copies == 2, axis=1) == 2).all()
    behind = np.nonzero(copies == 2)[1].reshape(-1, 2)
    pairs = Counter(map(tuple, behind.tolist()))
    possible = [(i, j) for i in range(count, 13) for j in range(i + count, 13)]
    assert abs(excess([pairs[pair] for pair in possible], np.full(len(possible), 1 / len(possible)))) < 4
    assert pairs.total() == sum(pairs[pair] for pair in possible)
    for text, (first, second) in zip(texts(task, examples), behind, strict=True):
        assert text[1 + first - count : 1 + first] == text[1 + second - count : 1 + second]


def test_letters_come_twice_in_the_test_alone():
    task, plain = Copy(length=43, duplicated=5), Copy(length=43)
    assert np.array_equal(drawn(task).inputs, drawn(plain).inputs)
    assert set(np.unique(drawn(task).slices["copies of the letters before"])) == {0, 1}
    repeats = [bool(re.search(r"(\w{5}).*\1.*\|", text)) for text in texts(task, drawn(task))]
    assert np.mean(repeats) < 0.01
    assert all(re.search(r"(\w{5}).*\1.*\|", text) for text in texts(task, drawn(task, 100, test=True)))
    changed = drawn(task, test=True).inputs != drawn(plain, test=True).inputs
    assert np.count_nonzero(changed[:, 1:21], axis=1).max() == 5


def test_slices_of_copying_tell_the_place():
    examples = drawn(Copy(length=23), 2, test=True)
    assert examples.slices["place in the string"][0, examples.scored[0]].tolist() == [1, 2, 2, 4, 4, 4, 4, 8, 8, 8]
    assert (examples.slices["place in the string"][~examples.scored] == 0).all()
    assert "copies of the letters before" not in examples.slices


def test_the_guess_is_the_letter_that_is_most_often_left():
    task = Copy(length=35, letters=4)
    examples = drawn(task, 60)
    guesses = task.guess(examples.inputs)
    for text, guess, scored in zip(texts(task, examples), guesses, examples.scored, strict=True):
        for time in np.flatnonzero(scored):
            string, answer = text[1 : time + 1].split("|")
            left = Counter(string) - Counter(answer)
            assert left[task.symbol(int(guess[time]))] == max(left.values())


VARIANTS = {
    "copy": Copy(),
    "copy(duplicated=3)": Copy(duplicated=3),
    "ngram-lookup": NGramLookup(),
    'ngram-lookup(order="prefix")': NGramLookup(order="prefix"),
}

HASHES = {
    "copy": [
        "6afb3cbd297e7efa95fd4dd00488698b67cc49319f40b82e22c528fd16c1f5f3",
        "803ef8695d456af484760fe41cd0e0f5080026245726f8c880daba50c7b504ce",
    ],
    "copy(duplicated=3)": [
        "6afb3cbd297e7efa95fd4dd00488698b67cc49319f40b82e22c528fd16c1f5f3",
        "591507e8fcc92a3fd6e58c071f735be95f5b69c59c562624be301b7d0548bb57",
    ],
    "ngram-lookup": [
        "eb811c37316af08c938e133944e3b364e3a0987be8047a8b9f64332d92fd48ef",
        "6e64729fc0a5451135eac117458b18dd64b0941b0c2fc71054e672e06fe89111",
    ],
    'ngram-lookup(order="prefix")': [
        "cc34a49108bae2ff30cf15b057229a4978b6a0bb9f6d4898d2c0d298c963539d",
        "4edc7f9567116981d522c58aac971b761f795ad0a127459d91605bc67a131bda",
    ],
}
"""Of the first training batch and the first 16 examples of the test, inputs and targets."""


@pytest.mark.parametrize("name", VARIANTS)
def test_the_data_are_the_same_everywhere(name):
    task = VARIANTS[name]
    data = TaskData(task, name)
    test = next(data.validation_batches(context=task.length, batch=16))
    batches = data.draw(context=task.length, batch=16, step=0, seed=0), test
    assert [sha256(batch) for batch in batches] == HASHES[name]


def sha256(batch):
    return hashlib.sha256(batch.inputs.numpy().tobytes() + batch.targets.numpy().tobytes()).hexdigest()


def test_published_lengths():
    assert (Copy().length, Copy().test_lengths) == (103, (203, 403))  # 50, 100 and 200 letters
    assert (NGramLookup().length, NGramLookup().test_lengths) == (58, (108, 208))


def test_symbols():
    assert "".join(map(Copy(letters=3).symbol, range(7))) == "abc$|.·"
