import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from zoo.data import dataset as datasets
from zoo.data.dataset import bits_per_byte, prepare, split_text
from zoo.data.text import Text, load_text
from zoo.errors import UsageError

TEXT = "na\xefve caf\xe9 \u20ac, a b c.\n" * 50


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode())
    return str(path)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.mark.parametrize("tokenizer", ["byte", "char", "bpe(vocab_size=300)"])
def test_a_dataset_is_the_two_parts_of_the_text(file, cache, tokenizer):
    made = prepare(file, tokenizer, cache=cache)
    cut = int(0.9 * len(TEXT))
    assert (made.name, made.sha256) == ("text.txt", load_text(file).sha256)
    assert made.tokenizer.decode(made.train) == TEXT[:cut]
    assert made.tokenizer.decode(made.validation) == TEXT[cut:]
    assert (made.train_bytes, made.validation_bytes) == (len(TEXT[:cut].encode()), len(TEXT[cut:].encode()))
    assert made.train.dtype == made.validation.dtype == (np.uint16 if "bpe" in tokenizer else np.uint8)


def test_characters_are_those_of_both_splits_and_merges_those_of_the_training_split(tmp_path, cache):
    (tmp_path / "text.txt").write_text("abcd efgh " * 18 + "wxyz wxyz " * 2)
    assert prepare(str(tmp_path / "text.txt"), "char", cache=cache).tokenizer.vocab_size == 13
    pieces = prepare(str(tmp_path / "text.txt"), "bpe", cache=cache).tokenizer.pieces
    assert b" efgh" in pieces
    assert b"wx" not in pieces


def test_the_splits_are_mapped_and_cannot_be_written(file, cache):
    made = prepare(file, "byte", cache=cache)
    for tokens in (made.train, made.validation):
        assert isinstance(tokens, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            tokens[0] = 1


@pytest.mark.parametrize("tokenizer", ["char", "bpe(vocab_size=300)"])
def test_the_second_time_nothing_is_made(file, cache, tokenizer, monkeypatch):
    first = prepare(file, tokenizer, cache=cache)
    monkeypatch.setattr(datasets, "make_tokenizer", None)
    second = prepare(file, tokenizer, cache=cache)
    assert second.tokenizer.to_json() == first.tokenizer.to_json()
    np.testing.assert_array_equal(second.train, first.train)
    np.testing.assert_array_equal(second.validation, first.validation)


def test_what_differs_is_kept_apart(file, cache, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text(TEXT + "more")
    prepare(file, "byte", cache=cache)
    prepare(file, " byte ", cache=cache)
    assert entries(cache) == 1
    prepare(file, "char", cache=cache)
    assert len(prepare(file, "byte", cache=cache, validation_fraction=0.5).validation) > len(TEXT) / 2
    assert len(prepare(str(other), "byte", cache=cache).train) > len(prepare(file, "byte", cache=cache).train)
    assert entries(cache) == 4


def test_a_damaged_entry_is_made_again(file, cache):
    first = prepare(file, "char", cache=cache)
    train, validation, tokenizer = np.array(first.train), np.array(first.validation), first.tokenizer.to_json()
    del first
    paths = sorted((cache / "encoded").glob("*/*.*"))
    assert [path.name for path in paths] == ["manifest.json", "tokenizer.json", "train.npy", "validation.npy"]
    for path in paths:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        again = prepare(file, "char", cache=cache)
        np.testing.assert_array_equal(again.train, train)
        np.testing.assert_array_equal(again.validation, validation)
        assert again.tokenizer.to_json() == tokenizer
        assert isinstance(again.train, np.memmap)


def test_without_a_writable_cache_the_splits_stay_in_memory(file, tmp_path):
    (tmp_path / "cache").write_text("a file where the cache should be")
    made = prepare(file, "char", cache=tmp_path / "cache")
    assert not isinstance(made.train, np.memmap)
    assert not made.train.flags.writeable
    assert not made.validation.flags.writeable
    assert made.tokenizer.decode(np.concatenate([made.train, made.validation])) == TEXT


def test_the_cache_is_chosen_by_the_environment(file, cache, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(cache))
    prepare(file, "byte")
    assert entries(cache) == 1


def test_a_wrong_tokenizer_is_told_before_anything_is_read_or_written(cache):
    with pytest.raises(UsageError, match="no tokenizer is named 'bite'"):
        prepare("no such file", "bite", cache=cache)
    assert not cache.exists()


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, math.nan])
def test_a_fraction_that_is_none(fraction):
    with pytest.raises(UsageError) as caught:
        split_text(Text("text", TEXT, ""), fraction)
    assert str(caught.value) == f"validation_fraction={fraction} should lie between 0 and 1, e.g. 0.1"


def test_a_text_too_short_to_split():
    with pytest.raises(UsageError) as caught:
        split_text(Text("tiny.txt", "a", ""), 0.1)
    assert str(caught.value) == (
        "the data 'tiny.txt' is too short to split: of its 1 characters, 0 are for training and 1 for validation; "
        "pass a longer text"
    )


@given(st.text(min_size=2), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_a_split_joins_to_the_text(text, fraction):
    assume(0 < int(len(text) * (1 - fraction)) < len(text))
    train, validation = split_text(Text("text", text, ""), fraction)
    assert train + validation == text
    assert abs(len(validation) - fraction * len(text)) <= 1


def test_tiny_shakespeare_splits_as_in_nanogpt():
    train, validation = split_text(Text("shakespeare", "x" * 1_115_394, ""), 0.1)
    assert (len(train), len(validation)) == (1_003_854, 111_540)


def test_bits_per_byte():
    assert bits_per_byte(math.log(256), 1000, 1000) == pytest.approx(8)  # a uniform guess among bytes
    assert bits_per_byte(math.log(2), 500, 1000) == pytest.approx(0.5)  # one bit a token of two bytes
    assert bits_per_byte(math.log(2), 1000, 3000) == pytest.approx(1 / 3)


def entries(cache) -> int:
    return sum(path.is_dir() for path in (cache / "encoded").iterdir())
