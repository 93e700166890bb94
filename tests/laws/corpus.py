"""Corpora that judge the laws: sound ones, and ones that break a law."""

import itertools
import random

from zoo import Corpus, UsageError
from zoo.corpora.python_stdlib import PythonStdlib

from .any_kind import option_controls

TEXTS = ("Once upon a time.", "", "Il était une fois.", "The end.")


class Tales(Corpus):
    """Some tales, which each control bends in one place."""

    def documents(self):
        yield from TEXTS


class ListOfTales(Corpus):
    """The tales as a list, which is always the same."""

    kept = list(TEXTS)  # noqa: RUF012 - nobody changes it

    def documents(self):
        return iter(self.kept)


class Endless(Corpus):
    """Tales without an end."""

    def documents(self):
        return (f"tale {number}" for number in itertools.count())


class Unavailable(Corpus):
    """Tales on a disk that is not there."""

    def documents(self):
        raise UsageError("the disk is not there: plug it in")


SOUND = [PythonStdlib, Tales, ListOfTales, Endless, Unavailable]


# documents


class Bytes(Corpus):
    """Tales as bytes."""

    def documents(self):
        return (text.encode() for text in TEXTS)


class HalfAPair(Corpus):
    """A tale that was read as another encoding."""

    def documents(self):
        return iter([*TEXTS, b"caf\xe9".decode("utf-8", "surrogateescape")])


class Nothing(Corpus):
    """No tales."""

    def documents(self):
        return iter(())


class Blank(Corpus):
    """Empty tales."""

    def documents(self):
        return iter(["", ""])


# determinism


class Shuffled(Corpus):
    """The tales in any order, which is kept."""

    def __init__(self):
        self.texts = [*map(str, range(50))]
        random.shuffle(self.texts)

    def documents(self):
        return iter(self.texts)


class Numbered(Corpus):
    """Every corpus has a tale more than the one before."""

    made = 0

    def __init__(self):
        Numbered.made += 1
        self.count = self.made

    def documents(self):
        return iter(["a tale"] * self.count)


# rereading


class ReadOnce(Corpus):
    """A generator that is made when the corpus is."""

    def __init__(self):
        self.texts = iter(TEXTS)

    def documents(self):
        return self.texts


class ShufflesEachTime(Corpus):
    """Another order each time, the same in every corpus."""

    def __init__(self):
        self.random = random.Random(0)

    def documents(self):
        texts = [*map(str, range(50))]
        self.random.shuffle(texts)
        return iter(texts)


class OnePlaceForAll(Corpus):
    """All readings have one place."""

    def documents(self):
        self.place = 0
        while self.place < len(TEXTS):
            self.place += 1
            yield TEXTS[self.place - 1]


BROKEN: list[tuple[str, type[Corpus]]] = [
    ("documents", Bytes),
    ("documents", HalfAPair),
    ("documents", Nothing),
    ("documents", Blank),
    ("determinism", Shuffled),
    ("determinism", Numbered),
    ("rereading", ReadOnce),
    ("rereading", ShufflesEachTime),
    ("rereading", OnePlaceForAll),
    *option_controls(Tales, "documents", paper=False),
]
