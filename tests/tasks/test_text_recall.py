"""Phonebooks and needles are made as they say, byte for byte."""

import re

import numpy as np
import pytest

from zoo import IGNORE
from zoo.tasks.recall.byte_text import draw_names, most_frequent_digit, symbol_of_byte
from zoo.tasks.recall.needle import Needle
from zoo.tasks.recall.phonebook import Phonebook

from .chance import counted, excess
from .test_recall_variants import digests


def drawn(task, examples=300, *, test=False, length=None):
    return task.draw(np.random.default_rng(0), examples, length=length or task.length, test=test)


def texts(examples):
    return [bytes(row).decode("latin-1") for row in examples.inputs.astype(np.uint8)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A text in which every place can be told from every other: its training split, and then that of validation."""
    path = tmp_path_factory.mktemp("corpus") / "numbered.txt"
    path.write_text("".join(f"({number:04})" for number in range(4000)))
    return str(path)


def test_names_are_all_as_likely_and_differ():
    names = draw_names(np.random.default_rng(0), 30_000, 3)
    spelt = {bytes(name).decode() for name in names[:500].reshape(-1, 4).astype(np.uint8)}
    assert all(re.fullmatch("[BDFGHJKLMNPRSTVWZ][aeiou][bdfghjklmnprstvwz][aeiou]", name) for name in spelt)
    for place, letters in ((0, b"BDFGHJKLMNPRSTVWZ"), (1, b"aeiou"), (2, b"bdfghjklmnprstvwz"), (3, b"aeiou")):
        counts = counted(names[:, 0, place], 128)
        assert counts.sum() == counts[list(letters)].sum()
        assert abs(excess(counts[list(letters)], np.full(len(letters), 1 / len(letters)))) < 4
    numbers = names @ 128 ** np.arange(4)
    assert (np.diff(np.sort(numbers, axis=1), axis=1) > 0).all()


def test_symbols_of_bytes():
    assert [symbol_of_byte(byte) for byte in (10, 32, 33, 65, 126, 127, 0, 200)] == [
        "⏎", "␣", "!", "A", "~", "⟨127⟩", "⟨0⟩", "⟨200⟩",
    ]  # fmt: skip
    assert len({symbol_of_byte(byte) for byte in range(256)}) == 256


def check_targets(tokens, targets, scored, number):
    """All digits of a number are targets, each at the byte before it, and its first counts."""
    (begin, end) = number
    for time, target in enumerate(targets):
        if begin - 1 <= time < end - 1:
            assert target == tokens[time + 1]
        assert scored[time] == (time == begin - 1)
    return set(range(begin - 1, end - 1))


@pytest.mark.parametrize(("length", "lines"), [(128, 8), (129, 8), (130, 9), (139, 9), (256, 21), (80, 4)])
def test_a_phonebook_by_hand(length, lines):
    task = Phonebook()
    examples = drawn(task, 100, length=length)
    for row, text in enumerate(texts(examples)):
        assert re.fullmatch(r"\n*(?:\w{4}: \d{3}\n)+\n(?:\w{4}: \d{3}\n){3}\w{4}: \d{3}", text)
        end = text.rindex("\n\n")
        assert text[:end].count(":") == lines
        assert len(text) - len(text.lstrip("\n")) < 10 or lines == 4
        targeted = set()
        for question in re.finditer(r"(\w{4}): (\d{3})", text[end:]):
            targets, scored = examples.targets[row], examples.scored[row] & (np.arange(length) > end + question.start())
            scored &= np.arange(length) < end + question.end()
            targeted |= check_targets(examples.inputs[row], targets, scored, np.add(question.span(2), end))
            line = text.index(question[0])  # the name and its number stand in the book
            assert line < end
            distance = examples.slices["distance"][row][end + question.start(2) - 1]
            assert distance <= end + question.start() - line < 2 * distance
        assert targeted == set(np.flatnonzero(examples.targets[row] != IGNORE).tolist())
        assert examples.scored[row].sum() == 4


def test_any_names_of_a_phonebook_are_asked_for_and_numbers_are_any():
    task = Phonebook(length=100, questions=2, digits=2)  # 9 lines of 9 bytes, and one that is left over
    examples = drawn(task, 9000)
    book = examples.inputs[:, 1:82].reshape(-1, 9, 9)
    asked = examples.inputs[:, [83, 84, 85, 86]]
    which = (book[:, :, :4] == asked[:, None]).all(axis=2)
    assert (which.sum(axis=1) == 1).all()
    assert abs(excess(which.sum(axis=0), np.full(9, 1 / 9))) < 4
    for digit in (6, 7):
        assert abs(excess(counted(book[:, :, digit], 58)[48:], np.full(10, 1 / 10))) < 4


def test_who_knows_a_phonebook_but_no_name_says_its_most_frequent_digit():
    task = Phonebook()
    examples = drawn(task, 100)
    guesses = task.guess(examples.inputs)
    for row, text in enumerate(texts(examples)):
        end = text.rindex("\n\n")
        left = [number[0] for number in re.findall(r"(\d{3})", text[:end])]
        for question in re.finditer(r": (\d)", text[end:]):
            most = max(sorted(set(left)), key=left.count)
            assert chr(guesses[row, end + question.start(1) - 1]) == most
            left.remove(question[1])


@pytest.mark.parametrize(("length", "test"), [(256, False), (256, True), (131, False), (500, True)])
def test_needles_by_hand(corpus, length, test):
    task = Needle(corpus=corpus, test_lengths=())
    examples = drawn(task, 60, length=length, test=test)
    guesses = task.guess(examples.inputs)
    whole = "".join(f"({number:04})" for number in range(4000))
    split = whole[:21600], whole[21600:]
    for row, text in enumerate(texts(examples)):
        body, name, number = re.fullmatch(r"(.*)\n(\w{4})'s number is (\d{3})", text, re.DOTALL).groups()
        needles = list(re.finditer(r"\n(\w{4})'s number is (\d{3})\.\n", body))
        assert len(needles) == 4
        assert (name, number) in {needle.groups() for needle in needles}
        hay = re.sub(r"\n\w{4}'s number is \d{3}\.\n", "", body)
        assert len(hay) == length - 4 * 23 - 21
        assert hay in split[test]
        assert hay not in split[not test]
        (asked,) = [place for place, needle in enumerate(needles) if needle[1] == name]
        before = needles[asked].start() - 23 * asked
        depth = examples.slices["depth"][row]
        assert (depth - 1) * (len(hay) + 1) / 10 - 1 < before < depth * (len(hay) + 1) / 10
        targets = check_targets(examples.inputs[row], examples.targets[row], examples.scored[row], (length - 3, length))
        assert targets == set(np.flatnonzero(examples.targets[row] != IGNORE).tolist())
        said = [needle[2][0] for needle in needles]
        assert chr(guesses[row, -4]) == max(sorted(set(said)), key=said.count)


def test_needles_lie_at_any_depth_of_any_text(corpus):
    task = Needle(corpus=corpus, needles=3, length=200, test_lengths=())
    examples = drawn(task, 8000)
    assert abs(excess(counted(examples.slices["depth"], 11)[1:], np.full(10, 1 / 10))) < 4
    room, begin = 200 - 3 * 23 - 21, []
    for text in texts(examples):
        number = re.search(r"\((\d{4})\)", re.sub(r"\n\w{4}'s number is \d{3}\.\n", "", text))
        begin.append(6 * int(number[1]) - number.start())
    assert min(begin) >= 0
    assert max(begin) <= 21600 - room
    parts = np.linspace(0, 21600 - room + 1, 11)
    assert abs(excess(np.histogram(begin, parts)[0], np.full(10, 1 / 10))) < 4


def test_a_text_that_is_just_long_enough_is_taken_whole(tmp_path):
    text = "".join(f"({number:08})" for number in range(110))
    (tmp_path / "short.txt").write_text(text)
    options = {"corpus": str(tmp_path / "short.txt"), "needles": 3, "test_lengths": ()}
    task = Needle(length=200, **options)
    for test in texts(drawn(task, 50, test=True)):
        assert re.sub(r"\n\w{4}'s number is \d{3}(\.\n|$)", "", test) == text[-110:]
    with pytest.raises(ValueError, match=r"short.txt' should have 111 bytes or more in each split$"):
        Needle(length=201, **options)


def test_a_corpus_that_is_not_there_is_refused_by_its_option():
    with pytest.raises(ValueError, match=r"^corpus='nowhere' is not available: there is no data 'nowhere'"):
        Needle(corpus="nowhere")


def test_the_most_frequent_digit_by_hand():
    digits, weights = np.array([[48, 50, 50, 57], [49, 57, 57, 50]]), np.array([[1, 1, 0, 0], [1, 1, 1, 1]])
    assert most_frequent_digit(digits, weights).tolist() == [48, 57]


def test_the_first_batch_and_the_test_are_what_they_were(corpus):
    """Needles in a text of which every machine has the same; the standard library's differs from Python to Python."""
    tasks = {"phonebook": Phonebook(), "needle": Needle(corpus=corpus)}
    assert {name: digests(task, name) for name, task in tasks.items()} == {
        "phonebook": "26b6782d75fe403d eebce455647d8aa9",
        "needle": "07e60bcfbca9e6e9 48deb9f0b67a2a6b",
    }
