"""The laws of tokenizers: nothing of a text is lost, however it is cut, streamed and saved."""

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import numpy as np

from zoo.errors import UsageError
from zoo.testing.law import Law, by_id, law
from zoo.testing.laws import member, options
from zoo.testing.member import MemberCase
from zoo.testing.violation import LawViolation, NotApplicable
from zoo.tokenizer import Tokenizer, smallest_dtype

TRAINED = "The cat sat on the mat; the café's cat sat too €😀.\n\tA long  gap,\r\nand 1234567890.\n" * 3
"""What a vocabulary is learned from."""

VALIDATED = TRAINED + "Zoë's naïve Ωmega — 日本語, half of it unseen.\x00\n"
"""That, and what is validated on, which has other characters."""

UNSEEN = "Жaβ\U0001d538"
"""Text of characters that a vocabulary has not seen."""

HALF_A_PAIR = "ab\udc80"
"""Text that no encoding can write."""

RANDOM_TEXTS = 8


class TokenizerCase(MemberCase):
    """A case of a tokenizer."""

    def create(self) -> Tokenizer:
        """A new one, which has learned nothing."""
        return cast(Tokenizer, super().create())

    def fitted(self, trained: str = TRAINED, validated: str = VALIDATED) -> Tokenizer:
        """A new one that has learned its vocabulary. `NotApplicable` if it needs something that is not there."""
        tokenizer = self.create()
        tokenizer.name = self.subject.label
        try:
            tokenizer.fit(trained, validated)
        except UsageError as error:
            raise NotApplicable(str(error)) from None
        return tokenizer

    def texts(self) -> Iterator[str]:
        """Texts that every vocabulary which saw `VALIDATED` can write."""
        yield from ("", "t", TRAINED, VALIDATED, VALIDATED[::-1], *(text for text in VALIDATED.split(" ")))
        drawn = random.Random(self.seed)
        for _ in range(RANDOM_TEXTS):
            yield "".join(drawn.choices(VALIDATED, k=drawn.randint(1, 40)))

    def use(self) -> None:
        """Encode a text."""
        self.fitted().encode(TRAINED)


@law(
    "round-trip",
    bug="Text that is stripped or put into normal form before it is cut: the model never sees the line ends that it "
    "should write.",
    sane=False,
)
def round_trip(case: TokenizerCase) -> None:
    """Text comes back as it was: ASCII, characters of several bytes, line ends, and no text at all, from the training
    split and from the validation split.
    """
    tokenizer = case.fitted()
    for text in case.texts():
        if (back := tokenizer.decode(tokenizer.encode(text))) != text:
            place = next((at for at, pair in enumerate(zip(text, back, strict=False)) if pair[0] != pair[1]), len(text))
            near = slice(max(0, min(place, len(back)) - 5), place + 5)
            raise LawViolation(f"{text[near]!a} comes back as {back[near]!a}")


@law(
    "tokens",
    bug="Tokens in int64 where a byte would do: a corpus of ten gigabytes needs eighty in memory.",
)
def tokens(case: TokenizerCase) -> None:
    """Tokens are whole numbers below `vocab_size`, `(t,)`, in the smallest unsigned type that holds them, and their
    pieces joined are the bytes of the text.
    """
    tokenizer = case.fitted()
    if tokenizer.vocab_size != len(tokenizer.pieces):
        raise LawViolation(f"vocab_size is {tokenizer.vocab_size}, with {len(tokenizer.pieces)} pieces")
    for text in case.texts():
        encoded = tokenizer.encode(text)
        expected = smallest_dtype(tokenizer.vocab_size)
        if not isinstance(encoded, np.ndarray) or encoded.ndim != 1 or encoded.dtype != expected:
            got = f"{encoded.dtype} {encoded.shape}" if isinstance(encoded, np.ndarray) else type(encoded).__name__
            raise LawViolation(f"encode gives {got}, not {expected} (t,)")
        if b"".join(tokenizer.pieces[int(token)] for token in encoded) != text.encode():
            raise LawViolation(f"the pieces of the tokens of {text[:20]!a} are not the bytes of the text")


@law(
    "streaming",
    bug="A decoder that decodes each token by itself: every euro sign that is generated becomes three question marks.",
)
def streaming(case: TokenizerCase) -> None:
    """Tokens that are decoded one by one, of a text or of none, give what all of them give at once."""
    tokenizer, drawn = case.fitted(), random.Random(case.seed)
    any_tokens = [drawn.choices(range(tokenizer.vocab_size), k=12) for _ in range(RANDOM_TEXTS)]
    for sequence in [*(tokenizer.encode(text).tolist() for text in case.texts()), *any_tokens]:
        decoder = tokenizer.decoder()
        streamed = "".join([*(decoder.feed(token) for token in sequence), decoder.flush()])
        if streamed != (whole := tokenizer.decode(sequence)):
            raise LawViolation(f"one by one tokens give {streamed[:30]!a}, and at once {whole[:30]!a}")


@law(
    "determinism",
    bug="A vocabulary in the order of a set: the next process gives every token another number.",
)
def determinism(case: TokenizerCase) -> None:
    """The same texts give the same vocabulary and the same tokens, whatever another instance learned before."""
    first = case.fitted()
    case.fitted(UNSEEN * 3, UNSEEN * 3)
    for seed in (random.seed, np.random.seed):
        seed(case.seed + 7)
    again = case.fitted()
    if difference := _difference(first, again, case.texts()):
        raise LawViolation(f"learned again from the same texts, it has {difference}")


def _difference(first: Tokenizer, second: Tokenizer, texts: Iterable[str]) -> str:
    """In what two tokenizers differ; empty if they do not."""
    if first.pieces != second.pieces:
        return "other pieces"
    for text in texts:
        if not np.array_equal(first.encode(text), second.encode(text)):
            return f"other tokens for {text[:20]!a}"
    return ""


@law(
    "saving",
    bug="Merges that are saved as a set: the trained model is loaded with a tokenizer that cuts otherwise.",
)
def saving(case: TokenizerCase) -> None:
    """What `to_json` gives is JSON, and `from_json` makes the same tokenizer of it."""
    tokenizer = case.fitted()
    try:
        saved = json.loads(json.dumps(tokenizer.to_json(), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise LawViolation(f"what to_json gives is no JSON: {error}") from None
    again = type(tokenizer).from_json(saved)
    if difference := _difference(tokenizer, again, case.texts()):
        raise LawViolation(f"saved and loaded, it has {difference}")


@law(
    "unknown-text",
    bug="Unknown characters that are skipped: a prompt in Greek is an empty prompt, without an error.",
)
def unknown_text(case: TokenizerCase) -> None:
    """Text that a vocabulary cannot write is refused with a UsageError, and nothing of it is lost without a word."""
    tokenizer = case.fitted()
    for text in (UNSEEN, HALF_A_PAIR):
        try:
            back = tokenizer.decode(tokenizer.encode(text))
        except UsageError:
            continue
        except Exception as error:
            cause = " ".join(f"{type(error).__name__}: {error}".split())
            raise LawViolation(f"{text!a} is not refused with a UsageError: {cause}") from None
        if back != text:
            raise LawViolation(f"{text!a} is encoded, and comes back as {back!a}")


TOKENIZER_LAWS: Mapping[str, Law] = by_id(
    [
        round_trip,
        tokens,
        streaming,
        determinism,
        saving,
        unknown_text,
        options.options_round_trip,
        member.options_refused,
        options.docstring,
    ]
)
"""By id."""
