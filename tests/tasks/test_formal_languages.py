"""Brackets, palindromes, stacks, sorting and counting: what is asked, found in another way than it was drawn."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from zoo import IGNORE
from zoo.tasks.state.counting import Counting
from zoo.tasks.state.dyck import Dyck
from zoo.tasks.state.palindrome import Palindrome
from zoo.tasks.state.sorting import Sorting
from zoo.tasks.state.stack import Stack

from .chance import counted, excess
from .test_flip_flop import accuracy, drawn, hashes


def by_row(task, examples):
    """The symbols, targets and slices of each example."""
    for row, tokens in enumerate(examples.inputs):
        slices = {name: values[row] for name, values in examples.slices.items()}
        yield [task.symbol(token) for token in tokens], examples.targets[row], slices


def matches(symbols):
    """Which bracket closes which: pairs that stand side by side are taken out until nothing is left."""
    left, found = list(enumerate(symbols)), {}
    while left:
        size = len(left)
        for (begin, one), (end, other) in pairwise(left):
            if one[0] == "(" and other == f"{one[1:]})":
                found[end] = begin
                left = [(place, symbol) for place, symbol in left if place not in {begin, end}]
                break
        assert len(left) < size
    return found


@pytest.mark.parametrize("options", [{}, {"brackets": 2, "depth": 2, "length": 20}])
def test_brackets_match_and_what_closes_is_asked_for_before(options):
    task = Dyck(**options)
    for symbols, targets, slices in by_row(task, drawn(task, 60)):
        closes = matches(symbols)
        assert {int(time) + 1 for time in np.flatnonzero(targets != IGNORE)} == set(closes)
        for end, begin in closes.items():
            assert task.symbol(targets[end - 1]) == f"{symbols[begin][1:]})"
            assert slices["distance"][end - 1] <= end - begin < 2 * slices["distance"][end - 1]
            outside = sum(first < begin and end < last for last, first in closes.items())
            assert slices["depth"][end - 1] == outside + 1 <= task.depth


def depth_shares(length, depth):
    """How many brackets are open after each token, by the probabilities of the paper and an end that closes all."""
    shares = np.zeros((length + 1, depth + 2))
    shares[0, 0] = 1
    for time in range(length):
        for count in range(depth + 1):
            opens = 0.5
            if count == 0:
                opens = 1
            if count in {depth, length - time}:
                opens = 0
            shares[time + 1, count + 1] += opens * shares[time, count]
            shares[time + 1, count - 1] += (1 - opens) * shares[time, count]
    return shares


def test_brackets_open_and_close_with_the_probabilities_of_the_paper():
    task = Dyck(length=40, depth=6, brackets=3)
    inputs = drawn(task, 10_000).inputs
    counts = np.cumsum(np.where(inputs < 3, 1, -1), axis=1)
    shares = depth_shares(40, 6)
    for time in range(40):
        there = shares[time + 1] * 10_000 >= 5
        if there.sum() > 1:
            seen = counted(counts[:, time], 8)
            assert not seen[shares[time + 1] == 0].any()
            assert abs(excess(seen[there], shares[time + 1][there] / shares[time + 1][there].sum())) < 5
    assert abs(excess(counted(inputs[inputs < 3], 3), np.full(3, 1 / 3))) < 4


def test_a_palindrome_reads_the_same_from_both_ends():
    task = Palindrome(length=22, vocab=9)
    examples = drawn(task, 3000)
    assert (examples.inputs[:, 11] == 8).all()
    whole = np.concatenate([examples.inputs, examples.targets[:, -1:]], axis=1)
    assert (whole == whole[:, ::-1]).all()
    assert (examples.targets[:, 11:-1] == examples.inputs[:, 12:]).all()
    assert (examples.targets[:, :11] == IGNORE).all()
    assert abs(excess(counted(examples.inputs[:, :11], 8), np.full(8, 1 / 8))) < 4
    exact = np.arange(11, 22) - np.arange(10, -1, -1)
    assert (examples.slices["distance"][0, 11:] == [1 << int(far).bit_length() - 1 for far in exact]).all()


def test_a_pop_takes_the_push_that_no_later_pop_has_taken():
    """Backwards from each pop: a pop passed on the way takes a push that is passed later."""
    task = Stack(length=80, stacks=3, elements=50)
    for symbols, targets, slices in by_row(task, drawn(task, 100)):
        operations = list(zip(symbols[0:78:3], symbols[1:78:3], symbols[2:78:3], strict=True))
        assert symbols[78:] == ["·"] * 2
        for now, (kind, stack, element) in enumerate(operations):
            if kind == "push":
                assert targets[3 * now + 1] == IGNORE
                continue
            taken, then = 0, now - 1
            while taken or operations[then][:2] != ("push", stack):
                taken += {("pop", stack): 1, ("push", stack): -1}.get(operations[then][:2], 0)
                then -= 1
            assert task.symbol(targets[3 * now + 1]) == element == operations[then][2]
            assert slices["distance"][3 * now + 1] <= 3 * (now - then) < 2 * slices["distance"][3 * now + 1]
            before = Counter(each[:2] for each in operations[:now])
            assert slices["depth"][3 * now + 1] == before["push", stack] - before["pop", stack]
        assert (targets[0::3] == IGNORE).all()
        assert (targets[2::3] == IGNORE).all()


def test_pushes_and_pops_are_drawn_as_the_docstring_says():
    task = Stack(length=30, stacks=4, elements=5)
    examples = drawn(task, 8000)
    kinds, stacks, elements = (examples.inputs[:, place::3] for place in range(3))
    # All but the last operation take any stack, and of those on a stack that is not empty half are pops.
    assert abs(excess(counted(stacks[:, :-1] - 5, 4), np.full(4, 1 / 4))) < 4
    assert abs(excess(counted(elements[kinds == task.push], 5), np.full(5, 1 / 5))) < 4
    sizes, seen, last = np.zeros((8000, 4), dtype=int), Counter(), Counter()
    row = np.arange(8000)
    for time in range(10):
        pop, here = kinds[:, time] != task.push, stacks[:, time] - 5
        size = sizes[row, here]
        assert not pop[size == 0].any()
        if time < 9:
            seen.update(pop[size > 0].tolist())
        else:
            assert (pop == sizes.any(axis=1)).all()
            three = (sizes > 0).sum(axis=1) == 3
            last.update((np.cumsum(sizes[three] > 0, axis=1)[np.arange(three.sum()), here[three]]).tolist())
        sizes[row, here] += np.where(pop, -1, 1)
    assert abs(excess([seen[False], seen[True]], [0.5, 0.5])) < 4
    assert abs(excess([last[1], last[2], last[3]], np.full(3, 1 / 3))) < 4


def test_a_number_is_as_often_sorted_as_it_came():
    task = Sorting(length=30, vocab=9)
    examples = drawn(task, 2000)
    numbers, answers = examples.inputs[:, :15], examples.targets[:, 15:]
    assert (np.diff(answers, axis=1) >= 0).all()
    for number in range(7):
        assert ((numbers == number).sum(axis=1) == (answers == number).sum(axis=1)).all()
    assert (examples.inputs[:, 15:] == [7] + [8] * 14).all()
    assert (examples.targets[:, :15] == IGNORE).all()
    assert abs(excess(counted(numbers, 7), np.full(7, 1 / 7))) < 4
    assert examples.slices["answer"][3].tolist() == [0] * 15 + list(range(1, 16))


@pytest.mark.parametrize(("letters", "length"), [(2, 64), (2, 129), (3, 50), (5, 5)])
def test_letters_are_counted_run_by_run(letters, length):
    """Runs are as long as the first of their string; what is scored stands at their ends."""
    task = Counting(letters=letters, length=length)
    examples = drawn(task, 300)
    for row, (symbols, targets, slices) in enumerate(by_row(task, examples)):
        text = "".join(symbols) + task.symbol(targets[-1] if targets[-1] != IGNORE else 0)
        run = []
        for symbol in text:
            if run and run[-1][0] == symbol:
                run[-1] += symbol
            else:
                run.append(symbol)
        time, first = 0, 0
        for number, letter_run in enumerate(run):
            first = len(letter_run) if letter_run[0] == "a" else first
            assert letter_run[0] == "abcde"[number % letters]
            if number < len(run) - 1:
                assert len(letter_run) == first
            for place in range(time, min(time + len(letter_run), length)):
                left = time + first - place  # of the run, this one included
                assert (targets[place] != IGNORE) == (letter_run[0] != "a")
                assert examples.scored[row, place] == (letter_run[0] != "a" and left <= 2)
                if letter_run[0] != "a":
                    following = "abcde"[(number + (left == 1)) % letters]
                    assert task.symbol(targets[place]) == following
                if examples.scored[row, place]:
                    assert slices["count"][place] <= first < 2 * slices["count"][place]
            time += len(letter_run)


def test_every_number_of_letters_is_as_likely():
    examples = drawn(Counting(), 6000)
    first = np.argmax(examples.inputs == 1, axis=1)
    assert abs(excess(counted(first, 17)[1:], np.full(16, 1 / 16))) < 4
    assert np.argmax(drawn(Counting(), 6000, length=128).inputs == 1, axis=1).max() == 32


@pytest.mark.parametrize(
    ("task", "share"),
    [(Dyck(), 0.59), (Palindrome(), 0.20), (Stack(), 0.26), (Sorting(), 0.33), (Counting(), 0.52)],
)
def test_guessing_reaches_what_the_documentation_says(task, share):
    assert accuracy(task, drawn(task, 3000)) == pytest.approx(share, abs=0.012)


def test_of_a_palindrome_the_tokens_that_are_left_can_be_guessed():
    """Of n different tokens the m-th last is one of m that are left."""
    task = Palindrome(length=8, vocab=5)
    examples = drawn(task, 30_000)
    different = (np.diff(np.sort(examples.inputs[:, :4], axis=1), axis=1) > 0).all(axis=1)
    right = (task.guess(examples.inputs) == examples.targets)[different, 4:]
    trials = np.count_nonzero(different)
    for place, share in enumerate((1 / 4, 1 / 3, 1 / 2, 1)):
        assert right[:, place].mean() == pytest.approx(share, abs=4 * (share * (1 - share) / trials) ** 0.5)


@pytest.mark.parametrize(
    ("task", "tokens", "symbols"),
    [
        (Dyck(brackets=3), (0, 2, 3, 5), "(0 (2 0) 2)"),
        (Palindrome(vocab=5), (0, 3, 4), "0 3 ⟨back⟩"),
        (Stack(stacks=2, elements=3), (0, 2, 3, 4, 5, 6, 7), "0 2 s0 s1 push pop ·"),
        (Sorting(vocab=6), (0, 3, 4, 5), "0 3 ⟨sort⟩ ·"),
        (Counting(letters=3), (0, 1, 2), "a b c"),
    ],
)
def test_symbols(task, tokens, symbols):
    assert " ".join(map(task.symbol, tokens)) == symbols


@pytest.mark.parametrize(
    ("name", "task", "recorded"),
    [
        ("dyck", Dyck(), "8620f20d5324c532 8ac54d710b8391cf"),
        ("palindrome", Palindrome(), "31dee32b31548813 708c61a1245c8007"),
        ("stack", Stack(), "b4895515c1439545 fda0fa2343e7a99e"),
        ("sorting", Sorting(), "5e8c364016ee8c0c 9b2bcc9a91fa7cff"),
        ("counting", Counting(), "4fb46f5a351e0180 75b4f3feb0bd9a15"),
        ("counting(letters=3)", Counting(letters=3), "3f348996a203485a 5667d354b3e85b23"),
    ],
)
def test_the_first_batch_and_the_test_are_recorded(name, task, recorded):
    assert hashes(task, name) == recorded
