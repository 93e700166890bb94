"""Curricula of length: what they say, what they refuse, and runs that follow them."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from zoo import IGNORE, Examples, Task
from zoo.errors import UsageError
from zoo.train.curriculum import Curriculum
from zoo.train.find_data import source_of
from zoo.train.session import resume, start
from zoo.train.settings import validate


def lengths(text, steps, seed=0):
    return [Curriculum.read(text).length(step, seed) for step in range(steps)]


def test_one_that_grows():
    assert lengths("8..12 over 8", 11) == [8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 12]
    assert lengths("8..12 over 4 by 2", 6) == [8, 8, 10, 10, 12, 12]
    assert lengths("1..100 over 1", 3) == [1, 100, 100]


def test_one_that_is_drawn_draws_every_length_as_often():
    counts = Counter(lengths("3..7 by 2", 3000))
    assert set(counts) == {3, 5, 7}
    assert all(900 < count < 1100 for count in counts.values())
    assert lengths("3..7", 50) == lengths("3..7", 50) != lengths("3..7", 50, seed=1)


def test_one_that_is_drawn_up_to_a_longest_that_grows():
    found = lengths("3..10..50 over 1000", 4000)
    early, late = found[:20], found[1000:]
    assert 3 <= min(early) <= max(early) <= 10
    assert (min(late), max(late)) == (3, 50)
    assert 25 < np.mean(late) < 28
    for step, length in enumerate(found[:1000]):
        assert length <= 10 + 40 * step / 1000


TEXTS = st.one_of(
    st.builds("{}..{} over {}".format, st.integers(1, 9), st.integers(10, 90), st.integers(1, 999)),
    st.builds("{}..{}".format, st.integers(1, 9), st.integers(10, 90)),
    st.builds(
        "{}..{}..{} over {}".format, st.integers(1, 9), st.integers(10, 20), st.integers(21, 90), st.integers(1, 99)
    ),
)


@given(TEXTS, st.integers(0, 2**31 - 1), st.integers(0, 200))
def test_it_reads_back_and_adds_up(text, seed, steps):
    curriculum = Curriculum.read(text)
    assert str(curriculum) == text
    assert Curriculum.read(f"  {text.replace('..', ' .. ')} by  1 ") == curriculum
    each = [curriculum.length(step, seed) for step in range(steps)]
    assert curriculum.tokens(steps, seed) == sum(each)
    assert set(each) <= set(curriculum.lengths)


@pytest.mark.parametrize(
    "text", ["", "8", "8..", "..8", "8..64 over", "8..64 of 3", "1..2..3", "8-64", "x..y", "1..3 over 3 by"]
)  # fmt: skip
def test_what_is_no_curriculum_is_told_what_one_is(text):
    with pytest.raises(UsageError, match=r"should read '8\.\.64 over 2000' \(from and to so many tokens, over steps\)"):
        validate({"curriculum": text})


@pytest.mark.parametrize("text", ["16..4", "4..4", "0..4", "4..8 over 0", "4..3..9 over 5", "4..9..8 over 5"])
def test_it_goes_up(text):
    with pytest.raises(UsageError, match="should go from 1 token or more to more tokens, over 1 step or more"):
        validate({"curriculum": text})


@pytest.mark.parametrize("text", ["4..9 by 2", "4..8 by 0", "4..7..10 over 5 by 2"])
def test_it_ends_in_whole_steps(text):
    with pytest.raises(UsageError, match="should reach its last length in whole steps of `by` tokens"):
        validate({"curriculum": text})


def test_none_is_none_and_a_number_is_no_curriculum():
    assert validate({"curriculum": "none"}).lengths is None
    assert validate({}).tokens(3) == 3 * 16 * 128
    with pytest.raises(UsageError, match="`curriculum`='8' should read"):
        validate({"curriculum": 8})


GROWING = {"data": "parity(length=9, test_lengths=())", "context": 9, "curriculum": "3..5..9 over 6", "steps": 12}


def test_a_run_counts_the_tokens_that_it_trained_on(tiny, tmp_path):
    settings = tiny(**GROWING, batch=2, accumulate=2, log_every=1)
    start(settings, root=tmp_path, out=tmp_path / "run", pages=False)
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    each = np.cumsum([4 * length for length in lengths("3..5..9 over 6", 12)])
    assert [row["tokens"] for row in rows] == each.tolist()


def test_a_run_that_is_resumed_ends_where_another_one_does(tiny, tmp_path):
    start(tiny(**GROWING, schedule="constant"), root=tmp_path, out=tmp_path / "whole", pages=False)
    start(tiny(**GROWING | {"steps": 7}, schedule="constant"), root=tmp_path, out=tmp_path / "cut", pages=False)
    resume(tmp_path / "cut", steps=12, pages=False)
    paths = [max((tmp_path / name / "checkpoints").glob("*/model.safetensors")) for name in ("whole", "cut")]
    first, second = map(load_file, paths)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"data": "parity(length=9)", "curriculum": "3..10 over 5"},
            "goes to 10 tokens, and the longest sequence has 9: end it there, or make them longer with the option",
        ),
        (
            {"data": "python-stdlib", "context": 16, "curriculum": "3..20"},
            "the longest sequence has 16: end it there, or make them longer with `context`",
        ),
        (
            {"data": "parity(length=9, examples=40)", "curriculum": "3..9"},
            "trains on 40 that were drawn before, of one length: set its option examples=none",
        ),
        (
            {"data": "mqar(length=16, pairs=2, vocab=64)", "context": 16, "curriculum": "8..16 over 5"},
            "has lengths that the task refuses: mqar: 9 in test_lengths should be an even number, 8 or more",
        ),
    ],
)
def test_a_curriculum_that_does_not_fit(settings, words):
    with pytest.raises(UsageError) as refusal:
        source_of(validate({"context": 9, **settings}))
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


class Said(Task):
    """Say what was said.

    Options:
        test_lengths: other lengths to test.
    """

    def __init__(self, *, test_lengths: tuple[int, ...] = ()):
        if any(length < 3 for length in test_lengths):
            raise ValueError("lengths should be 3 or more")
        self.vocab_size, self.length, self.test_lengths = 5, 12, test_lengths

    def draw(self, generator, examples, *, length, test):
        inputs = generator.integers(5, size=(examples, length))
        return Examples(inputs, np.where(np.arange(length) > 0, np.roll(inputs, 1, axis=1), IGNORE))


class OneLength(Said):
    """Say what was said, at one length."""

    def __init__(self):
        super().__init__()


def test_the_task_of_a_third_party_takes_part(registered):
    registered("said", Said)
    settings = validate({"data": "said", "context": 12, "curriculum": "3..12 over 5"})
    source = source_of(settings)
    assert [source.draw(context=length, batch=2, step=0).inputs.shape[1] for length in (3, 12)] == [3, 12]
    with pytest.raises(UsageError, match="has lengths that the task refuses: said: lengths should be 3 or more"):
        source_of(settings.model_copy(update={"curriculum": "2..12 over 5"}))
    registered("one-length", OneLength)
    with pytest.raises(
        UsageError, match="wants a task that says which lengths it takes: one-length has no test_lengths"
    ):
        source_of(settings.model_copy(update={"data": "one-length"}))


def test_lengths_that_are_not_tested_need_not_be_kept_apart():
    settings = validate({"data": "parity(length=9)", "context": 9, "curriculum": "1..9 over 5"})
    source = source_of(settings)
    shortest = source.draw(context=1, batch=64, step=0).inputs
    assert set(shortest.flatten().tolist()) == {0, 1}  # of which the test would have kept one or the other
