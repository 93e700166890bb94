import json
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zoo.data.tokenize import make_tokenizer, read_spec, tokenizer_as_json, tokenizer_from_json
from zoo.errors import UsageError
from zoo.plugin.kinds import TOKENIZER
from zoo.plugin.registry import get_registry
from zoo.tokenizer import smallest_dtype
from zoo.tokenizers.bpe import byte_of_letter
from zoo.tokenizers.char import CharTokenizer
from zoo.tokenizers.chunks import CHUNK, chunks

SENTENCE = "The cat sat on the mat; the caf\xe9's cat sat too \u20ac\U0001f600.\n"


def bpe(text, vocab_size):
    return make_tokenizer(f"bpe(vocab_size={vocab_size})", text, "")


def char(text):
    return make_tokenizer("char", "", text)


BYTE, BPE = make_tokenizer("byte", "", ""), bpe(SENTENCE * 3, vocab_size=280)
WHITE = bpe("a  \n b\n\n c" * 9, vocab_size=280)

# Runs of bytes that break UTF-8 in every way: cut, stray and overlong sequences, surrogates.
BROKEN = st.lists(
    st.one_of(
        st.binary(max_size=4),
        st.characters(exclude_categories=["Cs"]).map(lambda character: character.encode()[:-1]),
        st.sampled_from([b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90", b"\xe2\x82", b"a"]),
    )
).map(b"".join)


def streamed(tokenizer, tokens) -> list[str]:
    decoder = tokenizer.decoder()
    return [*(decoder.feed(int(token)) for token in tokens), decoder.flush()]


def error_of(spec: str) -> str:
    with pytest.raises(UsageError) as caught:
        make_tokenizer(spec, "abc", "abc")
    return str(caught.value)


@given(st.text())
def test_every_text_survives(text):
    for tokenizer in (BYTE, BPE, char(text + "a")):
        tokens = tokenizer.encode(text)
        assert tokens.dtype == smallest_dtype(tokenizer.vocab_size)
        assert tokens.ndim == 1
        assert tokenizer.decode(tokens) == text
        assert "".join(streamed(tokenizer, tokens)) == text


@given(st.text())
def test_a_saved_tokenizer_is_the_same(text):
    for tokenizer in (BYTE, BPE, char(text + "a")):
        saved = json.loads(json.dumps(tokenizer_as_json(tokenizer)))
        again = tokenizer_from_json(saved)
        assert (again.name, again.pieces, tokenizer_as_json(again)) == (tokenizer.name, tokenizer.pieces, saved)
        np.testing.assert_array_equal(again.encode(text), tokenizer.encode(text))


@given(BROKEN)
def test_streamed_bytes_are_what_decode_gives(content):
    assert "".join(streamed(BYTE, content)) == BYTE.decode(content) == content.decode(errors="replace")


@given(st.lists(st.integers(0, BPE.vocab_size - 1)))
def test_streamed_merges_are_what_decode_gives(tokens):
    assert "".join(streamed(BPE, tokens)) == BPE.decode(tokens)


@given(st.lists(st.integers(0, BPE.vocab_size - 1)))
def test_merges_decode_as_the_library_decodes_them(tokens):
    assert BPE.decode(tokens) == BPE._model.decode(tokens)


def test_a_character_comes_when_it_is_complete():
    assert streamed(BYTE, "a\u20acb".encode()) == ["a", "", "", "\u20ac", "b", ""]
    assert streamed(BYTE, "\u20ac".encode()[:2]) == ["", "", "\ufffd"]


def test_byte_is_utf8():
    assert BYTE.vocab_size == 256
    assert BYTE.encode("A\u20ac").tolist() == [65, 0xE2, 0x82, 0xAC]


def test_char_is_the_sorted_characters_of_the_whole_corpus():
    tokenizer = make_tokenizer("char", "banana", "banana split")
    assert isinstance(tokenizer, CharTokenizer)
    assert tokenizer.characters == " abilnpst"
    assert tokenizer.encode("tan").tolist() == [8, 1, 5]
    assert tokenizer.decode([8, 1, 5]) == "tan"


def test_char_takes_wider_types_for_more_characters():
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 257)))
    tokenizer = char(text)
    tokens = tokenizer.encode(text)
    assert tokens.dtype == np.uint16
    assert tokens.tolist() == list(range(257))
    assert char(text[:256]).encode(text[:256]).dtype == np.uint8


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ab\xe9", r"'\xe9'"),
        ("\u20aca\n\u20ac", r"'\n', '\u20ac'"),
        ("a\udc80", r"'\udc80'"),
        ("`", "'`'"),  # between characters of the vocabulary
        ("0123456789", "'0', '1', '2', '3', '4', '5', '6', '7' and 2 more"),
    ],
)
def test_characters_outside_of_the_vocabulary_are_named(text, shown):
    with pytest.raises(UsageError) as caught:
        char("_abc").encode(text)
    assert str(caught.value) == (
        f"the text has characters outside of the vocabulary: {shown}; a model of characters knows only the 4 of its "
        "training data: leave the others out, or train on bytes: zoo train --tokenizer byte"
    )


@pytest.mark.parametrize("tokenizer", [BYTE, BPE], ids=lambda tokenizer: tokenizer.name)
def test_half_a_surrogate_pair_is_refused(tokenizer):
    with pytest.raises(UsageError) as caught:
        tokenizer.encode("ab\udc80")
    assert str(caught.value) == r"the text has '\udc80', which UTF-8 cannot write: send the text as UTF-8"


# Letters, digits, marks, apostrophes; white space of all kinds; what only some hold to be white space or a letter.
CLASSES = "abst19\u4e00\u0660\u0301.'!_\U0001f600 \t\n\r\f\v\u00a0\u2028\u3000\x1c\x85\u180e\u200b\U0001e100\U000323af"


@given(st.text(st.sampled_from("ab1.' \r\n\t") | st.sampled_from(CLASSES), max_size=300), st.integers(1, 9))
@example("a" * 8 + "  \nb", 7)  # white space before the end of a line is one word at the end of a text only
@example("a!'s", 3)
@example("  \r\n  it's\r\n\r\n", 2)
def test_cutting_a_long_text_changes_no_token(text, size):
    model = WHITE._model
    cut = list(chunks(text, size))
    assert "".join(cut) == text
    assert [token for chunk in cut for token in model.encode(chunk).ids] == model.encode(text).ids


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        SENTENCE,
        "word word\r\n",
        "word word\n\n",
        "    indented word\n    \t",
        "one long line ",
        '{"minified":[12,"json"]},',
        "\u4e00\u4e8c\u4e09\uff0c\u56db\u3002",
        "word\x85word\u2028",
    ],
)
def test_no_text_of_many_words_is_one_chunk(line):
    text = line * (3 * CHUNK // len(line))
    lengths = list(map(len, chunks(text)))
    assert max(lengths) <= CHUNK + len(line)
    assert min(lengths[:-1]) >= CHUNK
    assert BPE.encode(text).tolist() == BPE._model.encode(text).ids


def test_a_single_word_is_never_cut():
    assert [len(chunk) for chunk in chunks("a" * 99 + " " + "b" * 99, 10)] == [99, 100]


def test_bpe_starts_with_the_bytes_and_learns_merges():
    assert BPE.vocab_size == 280
    assert sorted(BPE.pieces[:256]) == list(BYTE.pieces)
    assert len(set(BPE.pieces)) == 280
    assert b" cat" in BPE.pieces
    assert len(BPE.encode(SENTENCE)) < len(SENTENCE) / 2
    assert BPE.encode(SENTENCE).dtype == np.uint16


def test_bpe_is_learned_from_the_training_split_alone():
    tokenizer = make_tokenizer("bpe(vocab_size=300)", "aaaa bbbb " * 9, "aaaa bbbb " * 9 + "zzzz " * 99)
    assert b" bbbb" in tokenizer.pieces
    assert not any(b"zz" in piece for piece in tokenizer.pieces)


def test_bpe_is_deterministic():
    words = [f"word{index * 7919 % 1000}" for index in range(5000)]
    first, second = (bpe(" ".join(words), vocab_size=400) for _ in range(2))
    assert first.to_json() == second.to_json()


def test_bpe_stops_where_there_is_nothing_to_merge():
    assert make_tokenizer("bpe", "abab", "abab").vocab_size == 257  # ab comes twice, abab once
    assert make_tokenizer("bpe(vocab_size=256)", SENTENCE * 3, "").vocab_size == 256


def test_every_letter_of_bpe_is_a_byte():
    letters = byte_of_letter()
    assert sorted(letters.values()) == list(range(256))
    assert letters["\u0120"] == ord(" ")


def test_bpe_without_its_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    message = "the tokenizer 'bpe' needs the library tokenizers: pip install 'mixer-zoo[bpe]', or use byte or char"
    assert error_of("bpe") == message
    with pytest.raises(UsageError) as caught:
        tokenizer_from_json(tokenizer_as_json(BPE))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("bite", "no tokenizer is named 'bite' (did you mean 'byte'?); there are: bpe, byte, char, pretrained"),
        ("zzz", "no tokenizer is named 'zzz'; there are: bpe, byte, char, pretrained"),
        ("byte(size=2)", "byte has no option 'size'; it has no options"),
        (
            "bpe(vocab=2)",
            "bpe has no option 'vocab' (did you mean 'vocab_size'?); its options: vocab_size",
        ),
        *(
            (
                f"bpe(vocab_size={value})",
                f"bpe: vocab_size={value} should be a whole number from 256 (bytes alone) to 1048576",
            )
            for value in ("255", "1048577")
        ),
        *(
            (f"bpe(vocab_size={value})", f"bpe: option vocab_size={value} should be a valid integer")
            for value in ("True", "500.0", "'big'")
        ),
    ],
)
def test_a_tokenizer_that_cannot_be(spec, message):
    assert error_of(spec) == message


def test_the_spec_is_read_by_the_pattern_language():
    assert str(read_spec(" bpe( vocab_size = 512 ) ")) == "bpe(vocab_size=512)"
    assert get_registry()[TOKENIZER].names == ("bpe", "byte", "char", "pretrained")
    assert [make_tokenizer(name, "ab", "abc").name for name in ("bpe", "byte", "char")] == ["bpe", "byte", "char"]


def test_a_saved_tokenizer_of_an_unknown_kind():
    with pytest.raises(UsageError) as caught:
        tokenizer_from_json({"name": "words"})
    assert str(caught.value) == "no tokenizer is named 'words'; there are: bpe, byte, char, pretrained"
