"""What is wrong with files of documents is said in one line, with the place."""

import gzip
import json
import os

import pytest

import zoo
from zoo.data.shards import encode, inputs, read
from zoo.data.text import corpus_call
from zoo.errors import PluginError, UsageError

from .conftest import TEXTS

pytestmark = pytest.mark.usefixtures("cache")

LINES = [json.dumps({"id": number, "text": text}) for number, text in enumerate(TEXTS)]


def error_of(data, **options) -> str:
    with pytest.raises(UsageError) as caught:
        zoo.load_data(data, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"text": "abc',
            "a.jsonl, line 301, is not JSON (Unterminated string starting at, column 10): repair or remove it",
        ),
        ("abc", "a.jsonl, line 301, is not JSON (Expecting value, column 1): repair or remove it"),
        ('["abc"]', 'a.jsonl, line 301, is no JSON object: each line should read like {"text": "…"}'),
        (
            '{"body": "abc", "id": 1}',
            "a.jsonl, line 301, has no field 'text', but body, id: name the field of the text with `text_field`",
        ),
        ('{"text": 5}', "a.jsonl, line 301, has a number in the field 'text', not a text: choose another `text_field`"),
        (
            '{"text": ["a"]}',
            "a.jsonl, line 301, has a list in the field 'text', not a text: choose another `text_field`",
        ),
        (
            '{"text": "a\\ud800b"}',
            "a.jsonl, line 301, has '\\ud800', which UTF-8 cannot write: repair or remove it",
        ),
        ("[" * 100_000, "a.jsonl, line 301, is JSON that cannot be read: repair or remove it"),
        ('{"text": "a"} x', "a.jsonl, line 301, is not JSON (Extra data, column 15): repair or remove it"),
    ],
)
@pytest.mark.parametrize("block", [2000, read.BLOCK])
def test_a_broken_line(tmp_path, line, message, block, monkeypatch):
    monkeypatch.setattr(read, "BLOCK", block)
    (tmp_path / "a.jsonl").write_text("\n".join([*LINES[:300], line, *LINES[300:]]))
    assert error_of(tmp_path / "a.jsonl") == message


def test_a_line_that_is_not_utf8(tmp_path):
    lines = [line.encode() for line in LINES]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*lines[:7], b'{"text": "\xff"}', *lines]))
    assert error_of(tmp_path / "a.jsonl") == "a.jsonl, line 8, is not UTF-8: repair or remove the line"


def test_a_line_that_is_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(read, "MAX_LINE", 5000)
    monkeypatch.setattr(read, "BLOCK", 100)
    (tmp_path / "a.jsonl").write_text(LINES[0] + "\n" + json.dumps({"text": "a" * 9000}) + "\n" + LINES[1])
    assert error_of(tmp_path / "a.jsonl").startswith("a.jsonl, line 2, has more than 5,000 bytes: cut it")


def test_packed_files_that_were_cut(tmp_path, write_form):
    packed = gzip.compress("\n".join(LINES).encode())
    for content in (packed[:-1000], b"no gzip at all", packed[:200] + b"xxxx" + packed[204:]):
        (tmp_path / "a.jsonl.gz").write_bytes(content)
        assert error_of(tmp_path / "a.jsonl.gz").startswith("a.jsonl.gz is damaged, or not of the form jsonl.gz (")
    pytest.importorskip("zstandard")
    write_form(tmp_path / "a.jsonl.zst", TEXTS)
    (tmp_path / "a.jsonl.zst").write_bytes(b"no zst" + (tmp_path / "a.jsonl.zst").read_bytes())
    assert error_of(tmp_path / "a.jsonl.zst").startswith("a.jsonl.zst is damaged, or not of the form jsonl.zst (")


def test_tables_that_cannot_be_read(tmp_path, write_form):
    pytest.importorskip("pyarrow")
    path = write_form(tmp_path / "a.parquet", TEXTS)
    content = path.read_bytes()
    assert error_of(path, text_field="body") == (
        "a.parquet has no field 'body', but id, text: name the field of the text with `text_field`"
    )
    assert (
        error_of(path, text_field="id")
        == "a.parquet has int64 in the column 'id', not text: choose another `text_field`"
    )
    for damaged in (content[:-100], b"no table", b"", content[:500] + b"\xff" * 3000 + content[3500:]):
        path.write_bytes(damaged)
        assert error_of(path).startswith("a.parquet is damaged, or not of the form parquet (")


@pytest.mark.parametrize("name", ["pyarrow", "zstandard"])
def test_a_library_that_is_missing(tmp_path, monkeypatch, name, write_form):
    pytest.importorskip(name)
    path = write_form(tmp_path / ("a.parquet" if name == "pyarrow" else "a.jsonl.zst"), TEXTS)
    monkeypatch.setitem(__import__("sys").modules, f"{name}.parquet" if name == "pyarrow" else name, None)
    assert error_of(path) == f"{path.name} needs the library {name}: pip install 'mixer-zoo[data]'"


def test_too_few_documents(tmp_path, write_form):
    for texts in (TEXTS[:1], [TEXTS[0]] * 5, [], ["", None]):
        path = write_form(tmp_path / "a.jsonl", texts)
        assert error_of(path) == (
            "the data 'a.jsonl' has fewer than two different documents, and validation takes whole ones: pass more of "
            "them, or plain text"
        )


def test_a_pattern_without_a_file(tmp_path):
    assert error_of(f"{tmp_path}/*.jsonl") == (
        f"no file matches '{tmp_path}/*.jsonl': see what is there with ls, and quote the pattern"
    )


def test_binary_text_is_refused_however_large(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "LARGE", 100)
    for content, message in (
        (b"text " * 100 + b"\0", "there is a NUL byte at offset 500"),
        ("é".encode() * 100 + b"\xff" + b"a" * 50, "there is a byte 0xff at offset 200"),
        ("é".encode() * 100 + b"\xc3", "it ends within a character"),
    ):
        (tmp_path / "a.txt").write_bytes(content)
        assert error_of(tmp_path / "a.txt") == (
            f"the data file 'a.txt' is not UTF-8 text: {message}; convert it, or pass another"
        )


def test_a_single_text_has_no_documents_to_separate(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "LARGE", 100)
    (tmp_path / "a.txt").write_text("text " * 100)
    assert error_of(tmp_path / "a.txt", documents="separate") == (
        "the data 'a.txt' is a single document, and documents=separate needs several: pass more of them, or leave "
        "documents out"
    )


def test_a_fraction_that_is_none(tmp_path, write_form):
    path = write_form(tmp_path / "a.jsonl", TEXTS)
    assert error_of(path, validation_fraction=1.5) == "validation_fraction=1.5 should lie between 0 and 1, e.g. 0.1"


def test_characters_that_a_given_vocabulary_lacks(tmp_path, write_form):
    from zoo.data.shards.store import copy_shards

    small = zoo.load_data(write_form(tmp_path / "a.jsonl", ["abc", "cab"]), tokenizer="char")
    copy_shards(small.folder, tmp_path / "copy")
    assert zoo.load_data(tmp_path / "copy", tokenizer="char").vocab_size == 4
    assert "were encoded with tokenizer=char, and tokenizer=bpe was asked for" in error_of(
        tmp_path / "copy", tokenizer="bpe"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written(tmp_path, write_form, cache):
    cache.mkdir()
    cache.chmod(0o500)
    assert error_of(write_form(tmp_path / "a.jsonl", TEXTS)).startswith("cannot write to the cache ")


def test_a_full_disk(tmp_path, write_form, cache, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(encode, "write_index", full)
    assert error_of(write_form(tmp_path / "a.jsonl", TEXTS)) == (
        f"cannot write to the cache {cache / 'shards'} (No space left on device): make room, or set ZOO_CACHE to "
        "another folder"
    )
    monkeypatch.undo()


def test_the_hub_needs_its_plugin(registered):
    assert error_of("hf:owner/name") == "hf:owner/name needs a plugin: pip install zoo-datasets"

    class Hub(zoo.Corpus):
        """Documents of the hub.

        Options:
            name: of the data set.
        """

        streaming = True

        def __init__(self, *, name: str) -> None:
            self.name = name

        def documents(self):
            return (f"{self.name} {text}" for text in TEXTS)

    registered("hf", Hub)
    assert str(corpus_call("hf:owner/name")) == "hf(name='owner/name')"
    data = zoo.load_data("hf:owner/name")
    assert data.tokenizer.decode(data.train[:10]) == "owner/name"
    assert data.index["split"] == "document"


def test_a_streaming_corpus_that_fails_is_reported(registered):
    class Broken(zoo.Corpus):
        """Documents, and then none."""

        streaming = True

        def documents(self):
            yield from TEXTS[:9]
            raise RuntimeError("the line was cut")

    registered("broken", Broken)
    with pytest.raises(
        PluginError, match=r"^the corpus broken failed after 9 documents: RuntimeError: the line was cut"
    ):
        zoo.load_data("broken")
