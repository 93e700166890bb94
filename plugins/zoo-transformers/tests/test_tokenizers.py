"""Exported tokenizers cut and join every text as those of the zoo do."""

import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Model
from tokenizers import decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer
from zoo_transformers.tokenization import fast_tokenizer
from zoo_transformers_plugin.tokenizers import CheckpointTokenizer, TokenIds

from zoo.data.tokenize import make_tokenizer, tokenizer_as_json, tokenizer_from_json
from zoo.errors import UsageError
from zoo.tokenizer import Tokenizer

TEXT = "The quick brown fox jumps over a lazy dog, 'tis said; naïve → ü 42 cats don't.\n\nAnd so on…\t" * 3
TRICKY = "ROMEO: é ünï → 'tis  \n\n so\tI'll\r\n  \u180e\u200b\x1c<unk> \0end of one\0\0 'x\U0001f642"

byte = make_tokenizer("byte", TEXT, TEXT)
char = make_tokenizer("char", TEXT, TEXT)
bpe = make_tokenizer("bpe(vocab_size=300)", TEXT, TEXT)
FAST = {tokenizer.name: fast_tokenizer(tokenizer) for tokenizer in (byte, char, bpe)}

texts = (
    st.text()
    | st.text(st.sampled_from(TEXT + "\0 "))
    | st.lists(st.sampled_from([*TEXT.split(), " ", "\0"])).map(" ".join)
)


def agree(tokenizer, text):
    fast, expected = FAST[tokenizer.name], tokenizer.encode(text).tolist()
    assert fast(text)["input_ids"] == expected
    assert fast.decode(expected) == text


@settings(deadline=None)
@given(texts)
@example(TRICKY)
def test_bytes(text):
    agree(byte, text)


@settings(deadline=None)
@given(texts)
@example(TRICKY)
def test_byte_pairs(text):
    agree(bpe, text)


@settings(deadline=None)
@given(st.text(st.sampled_from(sorted(set(TEXT)))))
@example(TEXT)
def test_characters(text):
    agree(char, text)


def test_an_unknown_character_is_an_error_here_too():
    with pytest.raises(UsageError, match="outside of the vocabulary"):
        char.encode("Ж")
    with pytest.raises(Exception, match="WordLevel error"):
        FAST["char"]("The Ж")


@settings(deadline=None)
@given(st.sampled_from(["byte", "char", "bpe"]), st.lists(st.integers(0, 2**16)))
def test_any_tokens_are_decoded_alike(name, numbers):
    tokenizer = {"byte": byte, "char": char, "bpe": bpe}[name]
    ids = [number % tokenizer.vocab_size for number in numbers]
    assert FAST[name].decode(ids) == tokenizer.decode(ids)


def test_no_token_is_special_and_none_is_added():
    for fast in FAST.values():
        assert fast.all_special_tokens == []
        assert list(fast("The")) == ["input_ids", "attention_mask"]


@pytest.mark.parametrize("name", ["byte", "char", "bpe"])
def test_saved_and_loaded_again(tmp_path, name):
    FAST[name].save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = TEXT if name == "char" else TRICKY
    assert loaded(text)["input_ids"] == FAST[name](text)["input_ids"]
    assert loaded.decode(loaded(text)["input_ids"]) == text


def test_a_tokenizer_of_a_plugin_has_no_form():
    class Words(Tokenizer):
        name = "words"

        def encode(self, text):
            return np.zeros(len(text), np.uint8)

        def to_json(self):
            return {}

        @classmethod
        def from_json(cls, saved):  # noqa: ARG003
            return cls()

    with pytest.raises(UsageError, match=r"^the tokenizer 'words' has no form that transformers reads: train"):
        fast_tokenizer(Words())


def gpt2_like():
    """Bytes and merges with a special token, as GPT-2 has."""
    model = Model.from_str(json.dumps(bpe.to_json()["model"]))
    model.add_special_tokens(["<|endoftext|>"])
    return model


def llama_like():
    """Pieces of sentencepiece with bytes for what is unknown, and a token before every text."""
    pieces = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "▁a", "ab", "▁ab"]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    merges = [("▁", "a"), ("a", "b"), ("▁a", "b")]
    model = Model(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    model.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    model.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    model.add_special_tokens(["<s>"])
    model.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return model


@pytest.mark.parametrize("make", [gpt2_like, llama_like])
def test_a_pretrained_tokenizer_is_read_saved_and_exported(tmp_path, make):
    model, file = make(), tmp_path / "tokenizer.json"
    model.save(str(file))
    size = model.get_vocab_size() + 5  # a model may have more tokens than its tokenizer
    read = make_tokenizer(f'checkpoint(path="{file}", vocab_size={size})', "", "")
    again = tokenizer_from_json(json.loads(json.dumps(tokenizer_as_json(read))))
    fast = fast_tokenizer(again)
    assert read.vocab_size == again.vocab_size == size
    assert again.pieces == read.pieces
    for text in ("ab a\nba  ab é→", "", "\U0001f642"):
        ids = again.encode(text).tolist()
        assert ids == model.encode(text, add_special_tokens=False).ids == fast(text)["input_ids"]
        assert again.decode(ids) == text
    assert again.decode([size - 1]) == ""


def test_a_pretrained_tokenizer_of_the_zoo_is_exported(tmp_path):
    gpt2_like().save(str(tmp_path / "tokenizer.json"))
    read = make_tokenizer(f'pretrained(path="{tmp_path}")', "", "")
    fast, text = fast_tokenizer(read), TRICKY + "<|endoftext|>"
    assert fast(text)["input_ids"] == read.encode(text).tolist()
    assert fast.decode(read.encode(text).tolist()) == text


def test_special_tokens_are_recognised_in_a_text(tmp_path):
    gpt2_like().save(str(tmp_path / "tokenizer.json"))
    read = make_tokenizer(f'checkpoint(path="{tmp_path / "tokenizer.json"}")', "", "")
    ids = read.encode("so<|endoftext|>on").tolist()
    assert read.vocab_size - 1 in ids
    assert read.decode(ids) == "so<|endoftext|>on"


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, "", "cannot read the tokenizer .*: No such file or directory"),
        ("{}", "", "is no tokenizer: "),
        ("", ", vocab_size=3", "the tokenizer has 301 tokens, and the model 3: they do not belong together"),
    ],
)
def test_files_that_are_no_tokenizer_are_refused(tmp_path, content, options, message):
    file = tmp_path / "tokenizer.json"
    if content is not None:
        file.write_text(content or gpt2_like().to_str())
    with pytest.raises(UsageError, match=message) as refused:
        make_tokenizer(f'checkpoint(path="{file}"{options})', "", "")
    assert "\n" not in str(refused.value)


def test_a_way_of_writing_words_that_is_not_known_is_refused(tmp_path):
    model = Model(models.WordPiece({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    model.decoder = decoders.WordPiece()
    model.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UsageError, match="decodes with WordPiece, which is not known"):
        CheckpointTokenizer(str(tmp_path / "tokenizer.json")).fit("", "")


def test_token_numbers():
    numbers = TokenIds(20)
    assert numbers.encode("3  19\n0").tolist() == [3, 19, 0]
    assert numbers.decode([3, 19, 0]) == " 3 19 0"
    assert TokenIds.from_json(numbers.to_json()).pieces == numbers.pieces
    assert fast_tokenizer(numbers) is None
    for text in ("3 20", "x", "-1", "²"):
        with pytest.raises(UsageError, match="reads numbers from 0 to 19, with spaces between them"):
            numbers.encode(text)
