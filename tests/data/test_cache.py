import json
import os
import threading
from pathlib import Path

import pytest

from zoo.data.cache import cache_directory, cached_folder


class Builder:
    def __init__(self, content: bytes = b"content") -> None:
        self.content = content
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "file.bin").write_bytes(self.content)


def test_a_folder_is_built_once(tmp_path):
    build = Builder()
    folder = tmp_path / "cache" / "entry"
    assert cached_folder(folder, build) == folder == cached_folder(folder, build)
    assert build.calls == 1
    assert (folder / "file.bin").read_bytes() == b"content"
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == ["entry"]  # nothing staged is left


def flip_a_bit(folder):
    content = bytearray((folder / "file.bin").read_bytes())
    content[3] ^= 1
    (folder / "file.bin").write_bytes(content)


def cut_short(folder):
    os.truncate(folder / "file.bin", 3)


def remove_file(folder):
    (folder / "file.bin").unlink()


def add_file(folder):
    (folder / "other.bin").write_bytes(b"")


def remove_manifest(folder):
    (folder / "manifest.json").unlink()


def cut_manifest(folder):
    os.truncate(folder / "manifest.json", 10)


def replace_manifest(folder):
    (folder / "manifest.json").write_text("[1]")


def empty_everything(folder):
    remove_file(folder)
    (folder / "manifest.json").write_text("{}")


def scramble_manifest(folder):
    (folder / "manifest.json").write_bytes(b"\xff\xfe")


DAMAGES = [
    flip_a_bit,
    cut_short,
    remove_file,
    add_file,
    remove_manifest,
    cut_manifest,
    replace_manifest,
    empty_everything,
    scramble_manifest,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_folder_is_built_again(tmp_path, damage):
    folder, build = tmp_path / "entry", Builder()
    cached_folder(folder, build)
    damage(folder)
    assert cached_folder(folder, build) == folder
    assert build.calls == 2
    assert sorted(path.name for path in folder.iterdir()) == ["file.bin", "manifest.json"]
    assert (folder / "file.bin").read_bytes() == b"content"
    assert json.loads((folder / "manifest.json").read_text())["file.bin"]["bytes"] == 7


def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path):
    (tmp_path / "cache").write_text("a file where the cache should be")
    build = Builder()
    assert cached_folder(tmp_path / "cache" / "entry", build) is None
    assert build.calls == 0


def test_a_sound_folder_is_read_where_nothing_can_be_locked(tmp_path, monkeypatch):
    folder, build = tmp_path / "entry", Builder()
    cached_folder(folder, build)

    def refuse(*_args, **_kwargs):
        raise NotImplementedError("no locks here")

    monkeypatch.setattr("zoo.data.cache.FileLock", refuse)
    assert cached_folder(folder, build) == folder
    assert cached_folder(tmp_path / "other", build) is None


def test_a_full_disk_is_no_failure_and_leaves_nothing(tmp_path):
    def build(folder: Path) -> None:
        (folder / "file.bin").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    assert cached_folder(tmp_path / "entry", build) is None
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_mistake_of_the_builder_is_not_hidden(tmp_path):
    def build(_folder: Path) -> None:
        raise ValueError("wrong tokenizer")

    with pytest.raises(ValueError, match="wrong tokenizer"):
        cached_folder(tmp_path / "entry", build)


def test_two_that_ask_at_once_build_once(tmp_path):
    entered, may_go_on = threading.Event(), threading.Event()
    build = Builder()

    def slow(folder: Path) -> None:
        entered.set()
        assert may_go_on.wait(10)
        build(folder)

    first = threading.Thread(target=cached_folder, args=(tmp_path / "entry", slow))
    second = threading.Thread(target=cached_folder, args=(tmp_path / "entry", build))
    first.start()
    assert entered.wait(10)
    second.start()
    second.join(0.1)
    assert build.calls == 0
    may_go_on.set()
    first.join()
    second.join()
    assert build.calls == 1


def test_the_cache_directory_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert cache_directory() == tmp_path
    monkeypatch.setenv("ZOO_CACHE", "")
    assert cache_directory().name == "mixer-zoo"
