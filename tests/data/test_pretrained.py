"""A tokenizer.json of the library tokenizers, from its file and from a run."""

import json

import pytest

import zoo
from zoo.data.tokenize import (
    create_tokenizer,
    is_path,
    make_tokenizer,
    read_spec,
    tokenizer_as_json,
    tokenizer_call,
    tokenizer_from_json,
)
from zoo.errors import UsageError

from .conftest import TEXTS

tokenizers = pytest.importorskip("tokenizers")

TEXT = "The cat sat on the mat; the café's cat sat too €😀.\n" * 9


@pytest.fixture
def file(tmp_path):
    """Byte-level, with a special token, and settings of padding and truncation that must not matter."""
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=285, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
    )
    model.train_from_iterator([TEXT], trainer)
    model.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    model.enable_truncation(5)
    model.enable_padding(length=50)
    model.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_text_survives(file):
    made = make_tokenizer(str(file), "", "")
    for text in (TEXT, "", "Жaβ", "a<|endoftext|>b", "\n\n  x"):
        tokens = made.encode(text)
        assert made.decode(tokens) == text
        assert b"".join(made.pieces[token] for token in tokens) == text.encode()
        decoder = made.decoder()
        assert "".join([*(decoder.feed(int(token)) for token in tokens), decoder.flush()]) == text
    assert len(made.encode(TEXT)) < len(TEXT) * 0.7
    assert made.vocab_size == 285
    assert made.pieces[0] == b"<|endoftext|>"


def test_a_saved_one_needs_the_file_no_more(file):
    made = make_tokenizer(str(file), "", "")
    saved = json.loads(json.dumps(tokenizer_as_json(made)))
    file.unlink()
    again = tokenizer_from_json(saved)
    assert (again.name, again.pieces) == ("pretrained", made.pieces)
    assert again.encode(TEXT).tolist() == made.encode(TEXT).tolist()


def test_a_path_names_one(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    expected = f"pretrained(path='{file}')"
    assert str(tokenizer_call("tokenizer.json")) == str(tokenizer_call("./tokenizer.json")) == expected
    assert str(read_spec(str(file.parent))) == f"pretrained(path='{file.parent}')"
    assert make_tokenizer(".", "", "").pieces == make_tokenizer(expected, "", "").pieces
    assert is_path("~/t")
    assert not is_path("byte")
    assert not is_path("bpe(vocab_size=300)")
    assert not is_path(expected)


def test_data_is_encoded_with_it(file, tmp_path, cache, write_form):
    data = zoo.load_data(write_form(tmp_path / "a.jsonl", TEXTS), tokenizer=str(file))
    assert data.vocab_size == 285
    assert data.tokenizer.decode(data.train[:30]).startswith("Document 0: é")
    file.rename(tmp_path / "other.json")
    assert zoo.load_data(tmp_path / "a.jsonl", tokenizer=str(tmp_path / "other.json")).folder == data.folder
    (tmp_path / "other.json").rename(file)
    (tmp_path / "b.txt").write_text(TEXT)
    assert zoo.load_data(tmp_path / "b.txt", tokenizer=str(file)).vocab_size == 285


def test_another_file_at_the_same_path_is_another_tokenizer(file, tmp_path, cache, write_form):
    for path in (write_form(tmp_path / "a.jsonl", TEXTS), tmp_path / "b.txt"):
        (tmp_path / "b.txt").write_text(TEXT)
        before = zoo.load_data(path, tokenizer=str(file))
        other = make_tokenizer("bpe(vocab_size=270)", TEXT, "").to_json()["model"]
        kept = file.read_text()
        file.write_text(json.dumps(other))
        assert zoo.load_data(path, tokenizer=str(file)).vocab_size == 270 != before.vocab_size
        file.write_text(kept)


def test_mistakes(tmp_path, file):
    with pytest.raises(UsageError, match=r"^cannot read the tokenizer '.*no.json': No such file or directory$"):
        make_tokenizer(str(tmp_path / "no.json"), "", "")
    with pytest.raises(UsageError, match=r"^the tokenizer 'pretrained' needs a file"):
        make_tokenizer("pretrained", "", "")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(UsageError, match=r"bad.json is no tokenizer.json of the library tokenizers \("):
        make_tokenizer(str(tmp_path / "bad.json"), "", "")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"the": 0, "[UNK]": 1}, unk_token="[UNK]"))
    words.save(str(tmp_path / "words.json"))
    with pytest.raises(UsageError, match=r"words.json does not give text back as it was: take a byte-level one"):
        make_tokenizer(str(tmp_path / "words.json"), "", "")
    assert create_tokenizer(str(file)).pieces == ()


@pytest.mark.slow
def test_a_run_needs_the_file_no_more(file, tmp_path, cache, write_form):
    from zoo.train.session import resume, start
    from zoo.train.settings import Settings

    (tmp_path / "b.txt").write_text(TEXT * 5)
    content = file.read_text()
    for path in (write_form(tmp_path / "a.jsonl", TEXTS), tmp_path / "b.txt"):
        file.write_text(content)
        settings = Settings(
            data=str(path), tokenizer=str(file), mixer="correlation", layers=1, dim=16, heads=2, context=16, batch=2,
            steps=2, warmup=0, sample_tokens=8, threads=1,
        )  # fmt: skip
        out = tmp_path / f"run-{path.name}"
        start(settings, root=tmp_path, out=out, pages=False)
        file.unlink()
        assert resume(out, steps=3, pages=False).steps == 3
        assert zoo.load_run(out).tokenizer.vocab_size == 285
        with pytest.raises(UsageError, match="cannot read the tokenizer"):
            start(settings, root=tmp_path, out=tmp_path / "other", pages=False)
        assert not (tmp_path / "other").exists()


def test_a_copy_of_shards_has_its_vocabulary(file, tmp_path, cache, write_form):
    from zoo.data.shards.store import copy_shards

    data = zoo.load_data(write_form(tmp_path / "a.jsonl", TEXTS), tokenizer=str(file))
    copy_shards(data.folder, tmp_path / "copy")
    assert zoo.load_data(tmp_path / "copy", tokenizer=str(file)).sha256 == data.sha256
    file.write_text(json.dumps(make_tokenizer("bpe(vocab_size=270)", TEXT, "").to_json()["model"]))
    with pytest.raises(UsageError, match=r"have the vocabulary of another tokenizer.json: pass the one"):
        zoo.load_data(tmp_path / "copy", tokenizer=str(file))
