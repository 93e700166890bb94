import hashlib
import re
import sysconfig
from pathlib import PurePosixPath

import pooch
import pytest
import requests

from zoo.corpora import shakespeare
from zoo.corpora.python_stdlib import PythonStdlib, _is_wanted
from zoo.data.text import load_text
from zoo.errors import UsageError
from zoo.plugin.kinds import CORPUS
from zoo.plugin.registry import get_registry


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise requests.exceptions.ConnectionError("no network")

    monkeypatch.setattr(requests.sessions.Session, "request", refuse)


def error_of(data) -> str:
    with pytest.raises(UsageError) as caught:
        load_text(str(data))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_file_is_read_to_the_byte(tmp_path):
    content = "first\r\nsecond \ufeff \u20ac \U0001f600\n\n".encode()
    (tmp_path / "text.txt").write_bytes(content)
    corpus = load_text(str(tmp_path / "text.txt"))
    assert corpus.name == "text.txt"
    assert corpus.text.encode() == content
    assert corpus.sha256 == hashlib.sha256(content).hexdigest()
    assert "second" not in repr(corpus)


def test_a_byte_order_mark_at_the_start_of_a_file_is_no_text(tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + b"text \xef\xbb\xbf")
    plain, kept = (load_text(str(tmp_path / "a.txt"), keep_marks=keep) for keep in (False, True))
    assert (plain.text, kept.text) == ("text \ufeff", "\ufefftext \ufeff")
    assert plain.sha256 == hashlib.sha256(plain.text.encode()).hexdigest() != kept.sha256
    assert load_text(str(tmp_path)).text == "text \ufeff\ntext \ufeff"
    assert load_text(str(tmp_path), keep_marks=True).text == "\ufefftext \ufeff\n\ufefftext \ufeff"


def test_a_file_of_nothing_but_a_mark_is_empty(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf")
    assert "is empty" in error_of(tmp_path / "a.txt")


def test_a_folder_is_its_visible_text_files_in_the_order_of_their_paths(tmp_path):
    for name, content in {
        "b.txt": b"three",
        "a/z.py": b"two",
        "a.txt": b"one",  # '.' sorts before '/'
        "B.txt": b"zero",
        "c/d/e.md": b"four",
        ".hidden": b"no",
        ".git/config": b"no",
        "c/.cache/x.txt": b"no",
        "picture.png": b"\x89PNG\0no",
        "late.bin": b"x" * 9000 + b"\0no",
        "latin.txt": b"caf\xe9 no",
        "empty.txt": b"",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    corpus = load_text(str(tmp_path))
    assert corpus.text == "zero\none\ntwo\nthree\nfour"
    assert corpus.name == tmp_path.name


def test_a_home_directory_is_expanded_and_a_relative_folder_has_a_name(tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text("abc")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert load_text("~/text.txt").text == "abc"
    assert load_text(".").name == tmp_path.name


def test_a_file_with_the_name_of_a_built_in_corpus_is_reached_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "shakespeare").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert load_text("./shakespeare").text == "mine"


def test_a_missing_path(tmp_path):
    assert error_of(tmp_path / "no.txt") == (
        f"there is no data {str(tmp_path / 'no.txt')!r}: expected python-stdlib or shakespeare, a task "
        "(see: zoo tasks), or the path of a UTF-8 text file or of a folder of them, of .jsonl or .parquet, or of shards"
    )


@pytest.mark.parametrize("word", ["shakespear", "Shakespeare", "stdlib"])
def test_a_misspelt_corpus(word):
    right = "shakespeare" if "hak" in word else "python-stdlib"
    assert error_of(word).startswith(f"there is no data {word!r} (did you mean {right!r}?): expected python-stdlib or")


@pytest.mark.parametrize("word", ["", "qqq", "a\nb", "nul\0nul"])
def test_a_word_that_is_nothing(word):
    assert error_of(word).startswith(f"there is no data {word!r}: expected python-stdlib or shakespeare, a task")


def test_an_unknown_user():
    assert "cannot read the data '~nobody-of-this-name/x'" in error_of("~nobody-of-this-name/x")


def test_an_empty_file(tmp_path):
    (tmp_path / "empty.txt").write_bytes(b"")
    assert error_of(tmp_path / "empty.txt").endswith(
        "empty.txt' is empty: there is nothing to learn from, pass a file with text in it"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"ab\0c", "there is a NUL byte at offset 2"),
        (b"x" * 9000 + b"\0", "there is a NUL byte at offset 9000"),
        (b"caf\xe9!", "there is a byte 0xe9 at offset 3"),
        ("text".encode("utf-16"), "there is a NUL byte at offset 3"),
    ],
)
def test_a_binary_file(tmp_path, content, reason):
    path = tmp_path / "data.bin"
    path.write_bytes(content)
    assert error_of(path) == f"the data file {str(path)!r} is not UTF-8 text: {reason}; convert it, or pass another"


def test_a_folder_without_text(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / ".hidden").write_text("text")
    (tmp_path / "folder" / "data.bin").write_bytes(b"\0")
    assert error_of(tmp_path / "folder").endswith(
        "folder' has no text files; hidden, empty and binary ones do not count"
    )


def test_a_read_error_is_one_line(tmp_path, monkeypatch):
    def fail(_path, **_):
        raise OSError(5, "Input/output error")

    (tmp_path / "text.txt").write_text("text")
    monkeypatch.setattr("zoo.data.text.read_text", fail)
    assert error_of(tmp_path / "text.txt").endswith("text.txt': Input/output error")


@pytest.mark.usefixtures("offline")
def test_shakespeare_offline_says_what_to_do():
    message = error_of("shakespeare")
    assert message.startswith("cannot download the corpus 'shakespeare' (ConnectionError): get https://raw.github")
    assert "tinyshakespeare/input.txt" in message
    assert message.endswith("pass the file with `data`=PATH")


def test_shakespeare_with_other_content_is_refused(monkeypatch):
    def mismatch(*_args, **_kwargs):
        raise ValueError("SHA256 hash of downloaded file does not match the known hash")

    monkeypatch.setattr(pooch, "retrieve", mismatch)
    assert "cannot download the corpus 'shakespeare' (ValueError)" in error_of("shakespeare")


@pytest.mark.usefixtures("offline")
def test_shakespeare_is_taken_from_the_cache_if_its_hash_is_right(cache, monkeypatch):
    content = b"First Citizen:\nSpeak, speak.\n"
    (cache / "corpora").mkdir(parents=True)
    (cache / "corpora" / "shakespeare.txt").write_bytes(content)
    error_of("shakespeare")
    monkeypatch.setattr(shakespeare, "SHA256", hashlib.sha256(content).hexdigest())
    corpus = load_text("shakespeare")
    assert (corpus.name, corpus.text) == ("shakespeare", content.decode())


@pytest.mark.slow
def test_the_standard_library_is_a_few_megabytes_of_python():
    corpus = load_text("python-stdlib")
    assert 5e6 < len(corpus.text) < 15e6
    assert corpus == load_text("python-stdlib")
    assert sum(map(str.isascii, corpus.text)) > 0.9999 * len(corpus.text)
    assert len(re.findall(r"^    def \w+\(self", corpus.text, re.MULTILINE)) > 3000
    assert "unittest.main()" not in corpus.text[-10_000:]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("argparse.py", True),
        ("json", True),
        ("json/decoder.py", True),
        ("html/parser.py", True),
        ("html/entities.py", False),
        ("encodings", False),
        ("pydoc_data", False),
        ("stringprep.py", False),
        ("test", False),
        ("unittest/test", False),
        ("unittest/mock.py", True),
        ("ctypes/test", False),
        ("LICENSE.txt", False),
        ("lib-dynload", False),
        ("site-packages", False),
        ("sitecustomize.py", False),
        ("config-3.11-x86_64-linux-gnu", False),
        ("idlelib", False),
        ("tkinter", False),
    ],
)
def test_what_of_the_standard_library_is_taken(path, wanted):
    assert _is_wanted(PurePosixPath(path)) is wanted


def test_the_standard_library_is_read_in_a_fixed_order(tmp_path, monkeypatch):
    programs = ("zipfile.py", "json/encoder.py", "json/__init__.py", "abc.py")
    others = ("test/abc.py", "requests/api.py", "venv/activate", "json/__pycache__/encoder.pyc")
    for name in programs + others:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    assert "\n".join(PythonStdlib().documents()) == "abc.py\njson/__init__.py\njson/encoder.py\nzipfile.py"


@pytest.mark.parametrize("folder", ["there", "gone"])
def test_a_python_without_source(tmp_path, monkeypatch, folder):
    (tmp_path / "there").mkdir()
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / folder))
    assert error_of("python-stdlib").endswith(f"{folder}': pass `data`=PATH")


def test_the_built_in_corpora():
    assert get_registry()[CORPUS].names == ("python-stdlib", "shakespeare")
