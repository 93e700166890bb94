"""Shards on disk: interrupted, killed, damaged, encoded by several processes, and shared between them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import zoo
from zoo.data.shards import encode, pool, store
from zoo.data.shards.progress import reporting_to
from zoo.data.shards.write import ShardWriter
from zoo.errors import UsageError, ZooError

from .conftest import TEXTS


@pytest.fixture
def path(tmp_path, write_form):
    return write_form(tmp_path / "a.jsonl", TEXTS)


def files_of(cache):
    folders = [folder for folder in (cache / "shards").iterdir() if folder.is_dir()]
    assert len(folders) == 1
    return {file.name: file.read_bytes() for file in folders[0].iterdir()}


def encoded(path, cache, monkeypatch, **options):
    monkeypatch.setenv("ZOO_CACHE", str(cache))
    zoo.load_data(path, **options)
    return files_of(cache)


@pytest.mark.usefixtures("small_blocks")
class TestInterrupted:
    @pytest.mark.parametrize("blocks", [0, 1, 3, 7, 12])
    @pytest.mark.parametrize("tokenizer", ["byte", "bpe(vocab_size=300)"])
    def test_an_interrupted_encoding_goes_on_and_ends_in_the_same_bytes(
        self, path, tmp_path, monkeypatch, blocks, tokenizer
    ):
        whole = encoded(path, tmp_path / "whole", monkeypatch, tokenizer=tokenizer)
        add, added = ShardWriter.add, []

        def interrupted(self, *arguments):
            if len(added) == blocks:
                raise KeyboardInterrupt
            added.append(arguments)
            add(self, *arguments)

        monkeypatch.setattr(ShardWriter, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            encoded(path, tmp_path / "cut", monkeypatch, tokenizer=tokenizer)
        counted = []

        def counting(self, *arguments):
            counted.append(arguments)
            add(self, *arguments)

        monkeypatch.setattr(ShardWriter, "add", counting)
        monkeypatch.setattr(encode, "create_tokenizer", None if blocks else encode.create_tokenizer)
        assert encoded(path, tmp_path / "cut", monkeypatch, tokenizer=tokenizer) == whole
        if blocks == 12:
            assert len(counted) < 20  # it did not begin at the beginning

    def test_half_a_line_of_the_journal_and_half_a_shard_count_for_nothing(self, path, tmp_path, monkeypatch):
        whole = encoded(path, tmp_path / "whole", monkeypatch)
        close = ShardWriter.close

        def cut(self, *arguments):
            close(self, *arguments)
            if len(self.records) == 3:
                raise KeyboardInterrupt

        monkeypatch.setattr(ShardWriter, "close", cut)
        with pytest.raises(KeyboardInterrupt):
            encoded(path, tmp_path / "cut", monkeypatch)
        monkeypatch.setattr(ShardWriter, "close", close)
        (staged,) = (tmp_path / "cut" / "shards").glob("*.partial")
        journal = staged / "journal.jsonl"
        journal.write_bytes(journal.read_bytes()[:-40])
        (staged / "train-00001.npy").write_bytes(b"half")
        (staged / ".train-00003.npy.partial").write_bytes(b"half")
        monkeypatch.setattr(ShardWriter, "close", cut)
        with pytest.raises(KeyboardInterrupt):
            encoded(path, tmp_path / "cut", monkeypatch)
        monkeypatch.setattr(ShardWriter, "close", close)
        assert [json.loads(line)["after"]["file"] for line in journal.read_text().splitlines()] == [0, 0, 0]
        assert {name for name in encoded(path, tmp_path / "cut", monkeypatch) if not name.startswith(".")} == set(whole)
        after = files_of(tmp_path / "cut")
        assert {name: after[name] for name in whole} == whole

    def test_a_file_that_has_changed_is_another_one(self, path, cache, write_form):
        before = zoo.load_data(path).sha256
        write_form(path, TEXTS[:-1])
        assert zoo.load_data(path).sha256 != before
        assert len(list((cache / "shards").glob("*/index.json"))) == 2

    def test_what_is_encoded_is_not_read_again(self, path, cache, monkeypatch):
        first = zoo.load_data(path)
        monkeypatch.setattr(encode, "Reader", None)
        again = zoo.load_data(path)
        assert again.sha256 == first.sha256
        np.testing.assert_array_equal(np.asarray(again.train), np.asarray(first.train))

    def test_a_cut_shard_is_made_again(self, path, cache):
        whole = zoo.load_data(path)
        file = whole.folder / "train-00001.npy"
        content = file.read_bytes()
        file.write_bytes(content[:-1])
        zoo.load_data(path)
        assert file.read_bytes() == content

    def test_progress_is_reported(self, path, cache, monkeypatch):
        monkeypatch.setattr(encode, "_BETWEEN_REPORTS", 0)
        seen = []
        with reporting_to(seen.append):
            zoo.load_data(path)
        assert seen[-1].done == seen[-1].total == path.stat().st_size
        assert [each.documents for each in seen] == sorted(each.documents for each in seen)
        assert seen[-1].documents == len(TEXTS)
        assert seen[0].name == "a.jsonl"
        zoo.load_data(path)
        assert len(seen) == len(set(seen))

    def test_one_of_several_makes_the_shards_and_the_others_wait(self, path, cache, monkeypatch):
        calls, make = [], encode._encode

        def slowly(*arguments):
            calls.append(1)
            time.sleep(0.2)
            make(*arguments)

        monkeypatch.setattr(encode, "_encode", slowly)
        monkeypatch.setattr(encode, "_LOCK_POLL", 0.05)
        threads = [threading.Thread(target=zoo.load_data, args=[path]) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(calls) == 1

    def test_a_copy_is_used_as_it_is(self, path, cache, tmp_path):
        data = zoo.load_data(path, tokenizer="char")
        store.copy_shards(data.folder, tmp_path / "copy")
        path.unlink()
        copy = zoo.load_data(tmp_path / "copy", tokenizer="char")
        assert (copy.sha256, copy.name, copy.vocab_size) == (data.sha256, "a.jsonl", data.vocab_size)
        with pytest.raises(UsageError, match=r"exists: choose another `out`"):
            store.copy_shards(data.folder, tmp_path / "copy")
        with pytest.raises(UsageError, match=r"were encoded with tokenizer=char, and tokenizer=byte was asked for"):
            zoo.load_data(tmp_path / "copy")
        with pytest.raises(UsageError, match=r"encoded with validation_fraction=0.1, and validation_fraction=0.2"):
            zoo.load_data(tmp_path / "copy", tokenizer="char", validation_fraction=0.2)

    def test_damage_of_a_copy_is_explained(self, path, cache, tmp_path):
        data = zoo.load_data(path)
        store.copy_shards(data.folder, tmp_path / "copy")
        file = tmp_path / "copy" / "train-00000.npy"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        store.read_index(tmp_path / "copy")
        with pytest.raises(UsageError, match=r"train-00000.npy is damaged: its checksum differs"):
            store.verify(tmp_path / "copy")
        file.write_bytes(content[:-1])
        with pytest.raises(UsageError, match=r"train-00000.npy is missing or was cut"):
            zoo.load_data(tmp_path / "copy")
        index = json.loads((tmp_path / "copy" / "index.json").read_text())
        (tmp_path / "copy" / "index.json").write_text(json.dumps(index | {"format": 99}))
        with pytest.raises(UsageError, match=r"have format 99, and this version reads 1: encode again"):
            zoo.load_data(tmp_path / "copy")


class TestSeveralProcesses:
    @pytest.fixture(autouse=True)
    def _several(self, monkeypatch, small_blocks):
        monkeypatch.setattr(encode, "_FEW", 0)
        monkeypatch.setattr(pool, "_IN_FLIGHT", 5000)
        monkeypatch.setattr(encode.Encoding, "processes", 2)

    def test_they_make_the_same_shards(self, path, tmp_path, monkeypatch):
        several = encoded(path, tmp_path / "several", monkeypatch, tokenizer="char")
        monkeypatch.setattr(encode.Encoding, "processes", 1)
        assert encoded(path, tmp_path / "one", monkeypatch, tokenizer="char") == several

    def test_the_first_mistake_is_reported_and_they_end(self, path, cache, monkeypatch):
        lines = path.read_text().splitlines()
        lines[300], lines[350] = "{not json}", "neither"
        path.write_text("\n".join(lines))
        started, start = [], subprocess.Popen.__init__
        monkeypatch.setattr(
            subprocess.Popen, "__init__", lambda self, *a, **k: (started.append(self), start(self, *a, **k))[1]
        )
        with pytest.raises(UsageError, match=r"^a.jsonl, line 301, is not JSON"):
            zoo.load_data(path)
        assert started
        assert all(process.returncode is not None for process in started)

    def test_one_that_is_killed_is_reported(self, path, cache, monkeypatch):
        send = pool._send

        def kill(process, value):
            if isinstance(value, pool.Block) and value.line > 150:
                process.kill()
                process.wait()
            send(process, value)

        monkeypatch.setattr(pool, "_send", kill)
        with pytest.raises(ZooError, match=r"^a process that encodes a.jsonl has ended \(exit code -9\), perhaps"):
            zoo.load_data(path)
        monkeypatch.setattr(pool, "_send", send)
        assert len(zoo.load_data(path).train) > 0

    @pytest.mark.slow
    def test_a_tokenizer_of_a_plugin_file_is_found(self, path, cache, tmp_path, monkeypatch, no_plugin_files):
        from zoo.plugin.files import ENVIRONMENT

        (tmp_path / "mine.py").write_text(
            "import numpy as np\nfrom zoo import Tokenizer, hookimpl\n\n\n"
            "class Latin(Tokenizer):\n    '''Bytes, backwards.'''\n\n"
            "    def __init__(self) -> None:\n        super().__init__(bytes([255 - byte]) for byte in range(256))\n\n"
            "    def encode(self, text):\n        print('n')\n"
            "        return 255 - np.frombuffer(text.encode(), np.uint8)\n\n"
            "    def to_json(self):\n        return {}\n\n"
            "    @classmethod\n    def from_json(cls, saved):\n        return cls()\n\n\n"
            "@hookimpl\ndef zoo_tokenizers():\n    return {'latin': Latin}\n"
        )
        monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "mine.py"))
        data = zoo.load_data(path, tokenizer="latin")
        assert data.tokenizer.decode(data.train[:11]) == TEXTS[0][:11]


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on(tmp_path):
    path = tmp_path / "a.jsonl"
    line = json.dumps({"text": "the quick brown fox " * 60})
    path.write_text("".join(f'{{"text": "{number} {line[10:]}\n' for number in range(10_000)))
    script = (
        "import sys, zoo\nfrom zoo.data.shards import write\nwrite.SHARD = 2**20\n"
        "print(zoo.load_data(sys.argv[1]).folder)\n"
    )

    def run(cache):
        return subprocess.Popen(
            [sys.executable, "-c", script, str(path)],
            env=os.environ | {"ZOO_CACHE": str(cache)},
            stdout=subprocess.DEVNULL,
        )

    assert run(tmp_path / "whole").wait() == 0
    process = run(tmp_path / "cut")
    deadline = time.monotonic() + 60
    while not list((tmp_path / "cut").glob("shards/*.partial/train-00003.npy")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list((tmp_path / "cut").glob("shards/*.partial/journal.jsonl"))
    assert run(tmp_path / "cut").wait() == 0
    assert files_of(tmp_path / "cut") == files_of(tmp_path / "whole")
