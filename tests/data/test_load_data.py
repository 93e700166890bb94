"""Data for a training loop of the user's own."""

from pathlib import Path

import pytest
import torch

import zoo
from zoo.errors import UsageError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 40)
    return tmp_path


def test_a_text_is_its_tokens_and_batches_of_them(folder):
    data = zoo.load_data("text.txt", tokenizer="char", validation_fraction=0.25)
    assert data.tokenizer.decode(data.train).startswith("the cat sat")
    assert (len(data.train), len(data.validation)) == (720, 240)
    batch = data.draw(context=8, batch=2, step=3)
    assert batch.inputs.shape == batch.targets.shape == (2, 8)
    assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    assert torch.equal(batch.inputs, data.draw(context=8, batch=2, step=3, seed=0).inputs)
    assert sum(part.inputs.shape[0] for part in data.validation_batches(context=8, batch=4)) == 30
    assert data.settings == {
        "data": str(folder / "text.txt"), "tokenizer": "char", "validation_fraction": 0.25, "documents": "joined",
    }  # fmt: skip


@pytest.mark.parametrize("name", [Path("text.txt"), Path("parity"), "./parity"])
def test_a_path_is_a_file_whatever_its_name(folder, name):
    (folder / "parity").write_text("the cat sat on the mat. " * 40)
    assert zoo.load_data(name).settings["data"] == str(folder / name)


def test_a_task_has_sequences_of_its_own():
    data = zoo.load_data("parity(length=8)")
    assert data.settings == {"data": "parity(length=8)"}
    assert data.draw(context=8, batch=2, step=0).inputs.shape == (2, 8)
    assert data.tokenizer is None


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("tiny.txt", r"^there is no data 'tiny.txt': expected"),
        ("python-stdlb", r"^there is no data 'python-stdlb' \(did you mean 'python-stdlib'\?\)"),
        ("a" * 300, "^cannot read the data 'a+': File name too long$"),
        (3, "^data is the name of a corpus or a task, or a path, not int$"),
        (Path("shakespeare"), r"^there is no data '/.*/shakespeare': expected"),
    ],
)
def test_what_is_not_there_is_told(data, text):
    with pytest.raises(UsageError, match=text):
        zoo.load_data(data)
