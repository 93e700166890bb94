"""The laws of corpora: the same texts in the same order, as often as they are asked for."""

from collections.abc import Iterator, Mapping
from itertools import islice, zip_longest
from typing import cast

from zoo.corpus import Corpus
from zoo.errors import UsageError
from zoo.testing.law import Law, by_id, law
from zoo.testing.laws import member, options
from zoo.testing.member import MemberCase
from zoo.testing.violation import LawViolation, NotApplicable

FIRST = 100
"""Documents that are looked at. A corpus may be larger than a disk."""


class CorpusCase(MemberCase):
    """A case of a corpus."""

    def create(self) -> Corpus:
        """A new one."""
        return cast(Corpus, super().create())

    def documents(self, corpus: Corpus) -> Iterator[str]:
        """The first documents. `NotApplicable` if its texts are not available here."""
        try:
            yield from islice(corpus.documents(), FIRST)
        except UsageError as error:
            raise NotApplicable(str(error)) from None

    def use(self) -> None:
        """Read the first document."""
        next(self.documents(self.create()), None)


@law(
    "documents",
    bug="Files that are read as bytes, or a filter that leaves none: the run fails hours later, in the tokenizer.",
    sane=False,
    limit=1,
)
def documents(case: CorpusCase) -> None:
    """Documents are texts that UTF-8 can write, and not all of them are empty."""
    texts = list(case.documents(case.create()))
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise LawViolation(f"document {number} is {type(text).__name__}, not text")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise LawViolation(f"document {number} has {text[error.start]!a}, which UTF-8 cannot write") from None
    if not any(texts):
        raise LawViolation("it has no text: documents() gives nothing, or only empty documents")


@law(
    "determinism",
    bug="Files in the order in which the file system lists them: another machine validates on other texts.",
    limit=1,
)
def determinism(case: CorpusCase) -> None:
    """A second corpus with the same options gives the same documents in the same order."""
    first, second = (case.documents(case.create()) for _ in range(2))
    _check_same(first, second, "of a second corpus with the same options")


@law(
    "rereading",
    bug="A generator that is made in __init__: the first run reads the corpus, and the next one nothing.",
    limit=1,
)
def rereading(case: CorpusCase) -> None:
    """Each call of `documents` starts anew and gives the same, also while another one is being read."""
    corpus = case.create()
    first = case.documents(corpus)
    start = list(islice(first, 1))
    second = list(case.documents(corpus))
    _check_same(iter([*start, *first]), iter(second), "when it is read while another reading is under way")
    _check_same(iter(second), case.documents(corpus), "when it is read again")


def _check_same(first: Iterator[str], second: Iterator[str], when: str) -> None:
    for number, (one, other) in enumerate(zip_longest(first, second)):
        if one != other:
            missing = "missing" if one is None or other is None else "another one"
            raise LawViolation(f"document {number} is {missing} {when}")


CORPUS_LAWS: Mapping[str, Law] = by_id(
    [
        documents,
        determinism,
        rereading,
        options.options_round_trip,
        member.options_refused,
        options.docstring,
    ]
)
"""By id."""
