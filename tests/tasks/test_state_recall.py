"""State-based recall: swaps are followed, and the bit at an address is read."""

import numpy as np
import pytest

from zoo import IGNORE
from zoo.tasks.state.state_recall import StateRecall

from .chance import counted, excess
from .test_flip_flop import accuracy, drawn, hashes


def parts(task, examples):
    """Bits, first addresses, pairs, the variable read, its place, and the example's slices."""
    for row, tokens in enumerate(examples.inputs):
        symbols = [task.symbol(token) for token in tokens]
        begin, read = symbols.index("⟨swap⟩"), symbols.index("⟨read⟩")
        first = [int(symbol[1:]) for symbol in symbols[:begin] if symbol[0] == "@"]
        pairs = np.array([ord(symbol) - ord("a") for symbol in symbols[begin + 1 : read]]).reshape(-1, 2)
        slices = {name: values[row] for name, values in examples.slices.items()}
        yield symbols[: task.bits], first, pairs, ord(symbols[read + 1]) - ord("a"), read + 1, slices


@pytest.mark.parametrize(("options", "length"), [({}, 62), ({}, 94), ({"bits": 9, "variables": 3}, 40)])
def test_the_answer_is_found_backwards(options, length):
    """From the last swap to the first: whose first address the variable that is read has in the end."""
    task = StateRecall(**options)
    examples = drawn(task, 400, length=length)
    for row, (bits, first, pairs, variable, place, slices) in enumerate(parts(task, examples)):
        owner = variable
        for pair in pairs[::-1].tolist():
            if owner in pair:
                owner = sum(pair) - owner
        assert task.symbol(examples.targets[row, place]) == bits[first[owner]]
        assert np.count_nonzero(examples.targets[row] != IGNORE) == 1
        assert slices["moved"] == 1 + (owner != variable)
        assert slices["swaps"] <= len(pairs) < 2 * slices["swaps"]


def test_all_is_drawn_evenly():
    task = StateRecall()
    examples = drawn(task, 8000)
    numbers, pairs, reads, addresses = [], [], [], []
    for _, first, swaps, variable, _, _ in parts(task, examples):
        numbers.append(len(swaps))
        pairs += (5 * swaps[:, 0] + swaps[:, 1]).tolist()
        reads.append(variable)
        addresses.append(16 * first[0] + first[4])
    assert (min(numbers), max(numbers)) == (4, 16)
    assert abs(excess(counted(numbers, 17)[4:], np.full(13, 1 / 13))) < 4
    different = np.array([one != other for one in range(5) for other in range(5)])
    assert not counted(pairs, 25)[~different].any()
    assert abs(excess(counted(pairs, 25)[different], np.full(20, 1 / 20))) < 4
    assert abs(excess(counted(reads, 5), np.full(5, 1 / 5))) < 4
    apart = ~np.eye(16, dtype=bool).ravel()
    assert not counted(addresses, 256)[~apart].any()
    assert abs(excess(counted(addresses, 256)[apart], np.full(240, 1 / 240))) < 4
    assert abs(excess(counted(examples.inputs[:, :16], 2), [0.5, 0.5])) < 4


def test_who_stays_is_who_comes_back():
    task = StateRecall()
    moved = drawn(task, 20_000).slices["moved"]
    # Of 10 pairs 4 move a variable, and one brings it back: p becomes 0.6 p + 0.1 (1 - p), which begins at 1.
    stay = np.mean([0.2 + 0.8 * 0.5**swaps for swaps in range(4, 17)])
    assert np.mean(moved == 1) == pytest.approx(stay, abs=4 * (stay * (1 - stay) / 20_000) ** 0.5)


def test_longer_sequences_have_more_swaps():
    task = StateRecall()
    numbers = {len(pairs) for _, _, pairs, *_ in parts(task, drawn(task, 1500, length=94))}
    assert numbers == set(range(8, 33))


def test_guessing_is_recall_without_swaps():
    """The bit that three of five random bits or more have is any one of them by 11/16."""
    task = StateRecall()
    assert accuracy(task, drawn(task, 20_000)) == pytest.approx(11 / 16, abs=0.014)


def test_symbols():
    task = StateRecall(bits=6, variables=3)
    assert [task.symbol(token) for token in (0, 1, 2, 4, 5, 10)] == ["0", "1", "a", "c", "@0", "@5"]
    assert [task.symbol(token) for token in range(11, 15)] == ["⟨init⟩", "⟨swap⟩", "⟨read⟩", "·"]
    many = StateRecall(bits=40, variables=30, length=200, test_lengths=())
    assert len({many.symbol(token) for token in range(many.vocab_size)}) == many.vocab_size


@pytest.mark.parametrize(
    ("name", "task", "recorded"),
    [
        ("state-recall", StateRecall(), "70d244e54aef61e3 9a63d11e1c65cfc1"),
        ("state-recall(bits=32, length=78)", StateRecall(bits=32, length=78), "05debaad891c4269 df6555c166fddc23"),
    ],
)
def test_the_first_batch_and_the_test_are_recorded(name, task, recorded):
    assert hashes(task, name) == recorded
