"""``zoo data``."""

import json

import pytest

from zoo.cli.main import run

from .conftest import TEXTS


@pytest.fixture
def folder(tmp_path, cache, write_form, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_form(tmp_path / "a.jsonl", TEXTS)
    (tmp_path / "b.txt").write_text("xyz\n" * 800)
    return tmp_path


def printed(capsys, *arguments) -> dict:
    assert run(["data", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_documents(folder, capsys):
    described = printed(capsys, "a.jsonl")
    assert (described["kind"], described["split"], described["forms"]) == ("documents", "document", ["jsonl"])
    assert described["train"]["documents"] + described["validation"]["documents"] == len(TEXTS)
    assert described["train"]["bytes"] + described["validation"]["bytes"] == sum(len(t.encode()) + 1 for t in TEXTS)
    assert described["bytes_per_token"] == 1
    assert described["sample"].startswith("Document 0: é")
    assert run(["data", "a.jsonl"]) == 0
    page = capsys.readouterr().out
    for text in ("documents, jsonl: a file,", "256 tokens", "whole documents, chosen by a hash", described["sha256"]):
        assert text in page


def test_what_is_not_encoded_to_shards(folder, capsys):
    described = printed(capsys, "b.txt", "--tokenizer", "char")
    assert (described["kind"], described["split"], described["vocab_size"]) == ("text", "position", 4)
    assert described["train"] == {"tokens": 2880, "documents": None, "bytes": 2880}
    assert run(["data", "b.txt", "--out", "copied"]) == 2
    assert "is not in shards of its own: leave out --out" in capsys.readouterr().err


def test_a_mixture(folder, capsys):
    described = printed(capsys, "mix(a.jsonl=0.75, b.txt=0.25)")
    assert [(part["name"], part["weight"]) for part in described["parts"]] == [("a.jsonl", 0.75), ("b.txt", 0.25)]
    assert described["train"]["tokens"] == sum(part["train"]["tokens"] for part in described["parts"])
    assert run(["data", "mix(a.jsonl=0.75, b.txt=0.25)"]) == 0
    assert "0.75" in capsys.readouterr().out


def test_tokens_without_a_text(folder, capsys):
    import numpy as np

    for name in ("train.bin", "val.bin"):
        np.arange(100, dtype="<u2").tofile(folder / name)
    described = printed(capsys, ".")
    assert (described["tokenizer"], described["vocab_size"], described["split"]) == (None, 100, "files")
    assert run(["data", "."]) == 0
    assert "none: tokens without a text" in capsys.readouterr().out


def test_shards_are_copied_and_verified(folder, capsys):
    described = printed(capsys, "a.jsonl", "--out", "copied")
    assert described["out"] == "copied"
    assert printed(capsys, "copied")["sha256"] == described["sha256"]
    file = folder / "copied" / "validation-00000.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert run(["data", "copied"]) == 2
    assert "validation-00000.npy is damaged: its checksum differs" in capsys.readouterr().err


def test_mistakes(folder, capsys):
    for arguments, message in (
        (["mqar"], "mqar is a task: see it with zoo tasks mqar"),
        (["a.jsonl", "--set", "text_field=body"], "a.jsonl, line 1, has no field 'body', but id, text: name the field"),
        (["nope"], "there is no data 'nope'"),
        (
            ["mix(a.jsonl=0.5)"],
            "the weights of a mixture add up to 1, and those of mix(a.jsonl=0.5) to 0.5: change them",
        ),
    ):
        assert run(["data", *arguments]) == 2
        assert message in capsys.readouterr().err


def test_an_interrupted_encoding_says_so(folder, capsys, monkeypatch):
    from zoo.data.shards.write import ShardWriter

    def interrupted(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(ShardWriter, "add", interrupted)
    assert run(["data", "a.jsonl"]) == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on after the last whole shard\n"
