"""Tokenizers that judge the laws: sound ones, and ones that break a law."""

import random
import unicodedata

import numpy as np

from zoo import Tokenizer, UsageError
from zoo.tokenizer import Decoder, smallest_dtype
from zoo.tokenizers.plugin import zoo_tokenizers

from .any_kind import option_controls

PRIVATE_USE = 0xE000


class Letters(Tokenizer):
    """The characters of a text and one token for each byte, which each control bends in one place."""

    def fit(self, train_text, whole_text):
        self.learn(sorted(self.letters_of(whole_text)))

    def letters_of(self, text):
        return set(text)

    def learn(self, letters):
        self.letters = "".join(letters)
        self.token_of = {letter: token for token, letter in enumerate(self.letters)}
        self.pieces = tuple(letter.encode() for letter in self.letters)

    def encode(self, text):
        return np.array(self.tokens_of(text), dtype=smallest_dtype(self.vocab_size))

    def tokens_of(self, text):
        if unknown := set(text) - set(self.letters):
            raise UsageError(f"unknown characters: {sorted(unknown)!a}")
        return [self.token_of[letter] for letter in text]

    def to_json(self):
        return {"letters": self.letters}

    @classmethod
    def from_json(cls, saved):
        made = cls()
        made.learn(saved["letters"])
        return made


class Pairs(Letters):
    """The bytes, and pairs of them that come often: tokens end within characters."""

    def fit(self, train_text, whole_text):
        content = train_text.encode()
        pairs = sorted({content[place : place + 2] for place in range(len(content) - 1)})
        self.take([bytes([byte]) for byte in range(256)] + pairs)

    def take(self, pieces):
        self.pieces = tuple(pieces)
        self.token_of_piece = {piece: token for token, piece in enumerate(self.pieces)}

    def tokens_of(self, text):
        try:
            content, found, place = text.encode(), [], 0
        except UnicodeEncodeError:
            raise UsageError("no UTF-8") from None
        while place < len(content):
            size = 2 if content[place : place + 2] in self.token_of_piece else 1
            found.append(self.token_of_piece[content[place : place + size]])
            place += len(self.pieces[found[-1]])
        return found

    def to_json(self):
        return {"pieces": [piece.hex() for piece in self.pieces]}

    @classmethod
    def from_json(cls, saved):
        made = cls()
        made.take(bytes.fromhex(piece) for piece in saved["pieces"])
        return made


class NeedsLibrary(Letters):
    """What it needs is not installed."""

    def fit(self, train_text, whole_text):
        raise UsageError("it needs a library: pip install it")


SOUND = [*zoo_tokenizers().values(), Letters, Pairs, NeedsLibrary]


# round-trip


class StripsText(Letters):
    """White space at the ends is lost."""

    def tokens_of(self, text):
        return super().tokens_of(text.strip())


class JoinsLineEnds(Letters):
    """Line ends of two characters become one."""

    def tokens_of(self, text):
        return super().tokens_of(text.replace("\r\n", "\n"))


class NormalForm(Letters):
    """Letters and their marks are taken apart."""

    def letters_of(self, text):
        return set(text) | set(unicodedata.normalize("NFD", text))

    def tokens_of(self, text):
        return super().tokens_of(unicodedata.normalize("NFD", text))


class DecodesWithSpaces(Letters):
    """Decoded tokens stand apart."""

    def decode(self, tokens):
        return " ".join(super(DecodesWithSpaces, self).decode([token]) for token in tokens)


# tokens


class WideTokens(Letters):
    """In eight bytes each."""

    def encode(self, text):
        return super().encode(text).astype(np.int64)


class ListOfTokens(Letters):
    """No array."""

    def encode(self, text):
        return super().encode(text).tolist()


class CountsItselfWrong(Letters):
    """One token more than it has pieces."""

    @property
    def vocab_size(self):
        return len(self.pieces) + 1


class PiecesInLowerCase(Letters):
    """The pieces are other letters, which its own decoding does not look at."""

    def learn(self, letters):
        super().learn(letters)
        self.pieces = tuple(letter.lower().encode() for letter in self.letters)

    def decode(self, tokens):
        return "".join(self.letters[token] for token in tokens)


# streaming


class DecodesEachByItself(Pairs):
    """A token at a time."""

    def decoder(self):
        class Each(Decoder):
            def feed(self, token):
                return self._pieces[token].decode(errors="replace")

        return Each(self.pieces)


class NeverFlushes(Pairs):
    """What is left at the end is dropped."""

    def decoder(self):
        class Kept(Decoder):
            def flush(self):
                return ""

        return Kept(self.pieces)


# determinism


class InAnyOrder(Letters):
    """The letters are shuffled."""

    def learn(self, letters):
        letters = list(letters)
        random.shuffle(letters)
        super().learn(letters)

    @classmethod
    def from_json(cls, saved):
        made = cls()
        Letters.learn(made, saved["letters"])
        return made


class LearnsOnAndOn(Letters):
    """What an earlier one has learned is kept in the class, and the next one has a letter more."""

    times = 0

    def letters_of(self, text):
        type(self).times += 1
        return {*text, *map(chr, range(PRIVATE_USE, PRIVATE_USE + self.times))}


class OtherTokensEachTime(Letters):
    """The same pieces, and letters that are looked up by chance."""

    def letters_of(self, text):
        return [*set(text), *"tttttttttttttttttttt"]

    def learn(self, letters):
        super().learn(letters)
        self.token_of["t"] = random.choice([token for token, letter in enumerate(self.letters) if letter == "t"])

    @classmethod
    def from_json(cls, saved):
        made = cls()
        made.learn(saved["letters"])
        made.token_of["t"] = saved["t"]
        return made

    def to_json(self):
        return {**super().to_json(), "t": self.token_of["t"]}


# saving


class SavesASet(Letters):
    """What is saved is no JSON."""

    def to_json(self):
        return {"letters": set(self.letters)}


class SavesInOrderOfUse(Letters):
    """Saved in another order."""

    def to_json(self):
        return {"letters": self.letters[::-1]}


class ForgetsToSave(Letters):
    """How it cuts is not saved."""

    def fit(self, train_text, whole_text):
        super().fit(train_text, whole_text)
        self.learn(self.letters + self.letters[:1])  # which has two tokens then, of which the last is found
        self.token_of[self.letters[0]] = 0


# unknown-text


class SkipsUnknown(Letters):
    """Characters that it does not know are left out."""

    def tokens_of(self, text):
        return super().tokens_of("".join(letter for letter in text if letter in self.token_of))


class FailsOnUnknown(Letters):
    """Characters that it does not know are an error of the dictionary."""

    def tokens_of(self, text):
        return [self.token_of[letter] for letter in text]


class MarksUnknown(Letters):
    """Characters that it does not know become the first one that it does."""

    def tokens_of(self, text):
        return [self.token_of.get(letter, 0) for letter in text]


BROKEN: list[tuple[str, type[Tokenizer]]] = [
    ("round-trip", StripsText),
    ("round-trip", JoinsLineEnds),
    ("round-trip", NormalForm),
    ("round-trip", DecodesWithSpaces),
    ("tokens", WideTokens),
    ("tokens", ListOfTokens),
    ("tokens", CountsItselfWrong),
    ("tokens", PiecesInLowerCase),
    ("streaming", DecodesEachByItself),
    ("streaming", NeverFlushes),
    ("determinism", InAnyOrder),
    ("determinism", LearnsOnAndOn),
    ("determinism", OtherTokensEachTime),
    ("saving", SavesASet),
    ("saving", SavesInOrderOfUse),
    ("saving", ForgetsToSave),
    ("unknown-text", SkipsUnknown),
    ("unknown-text", FailsOnUnknown),
    ("unknown-text", MarksUnknown),
    *option_controls(Letters, "encode", paper=False),
]
