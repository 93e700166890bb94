"""Mixtures: what they are drawn from, how often, and with which vocabulary."""

import json

import numpy as np
import pytest
import torch

import zoo
from zoo.data.load import load_source
from zoo.data.mixture import Mixture, is_mixture, read_mixture, write_mixture
from zoo.data.source import IGNORE
from zoo.errors import UsageError

from .conftest import TEXTS


@pytest.fixture
def folder(tmp_path, cache, write_form, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_form(tmp_path / "a.jsonl", TEXTS)
    (tmp_path / "b.txt").write_text("ΑΒΓ xyz\n" * 800)
    return tmp_path


MIX = "mix(a.jsonl=0.7, b.txt=0.3)"


def test_the_text_of_a_mixture():
    assert read_mixture(MIX) == {"a.jsonl": 0.7, "b.txt": 0.3}
    assert read_mixture(" mix( 'a, (1).txt'=.25 , \"b=c'd\"=2.5e-1, e f.txt =0.5)") == {
        "a, (1).txt": 0.25, "b=c'd": 0.25, "e f.txt": 0.5,
    }  # fmt: skip
    assert read_mixture("mix(" + ", ".join(f"{n}.txt=0.1" for n in range(10)) + ")")
    assert is_mixture(MIX)
    assert not is_mixture("mixed.txt")
    assert not is_mixture("./mix(a)")


@pytest.mark.parametrize("names", [["a.txt", "b.txt"], ["a, b (c).txt", "it's.txt"], ["x=y", " spaced "]])
def test_a_mixture_is_written_as_it_is_read(names):
    weights = dict(zip(names, [0.25, 0.75], strict=True))
    assert read_mixture(write_mixture(weights)) == weights


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "mix(a.jsonl=0.7, b.txt=0.4)",
            r"add up to 1, and those of mix\(a.jsonl=0.7, b.txt=0.4\) to 1.1: change them$",
        ),
        ("mix()", r"add up to 1, and those of mix\(\) to 0: change"),
        ("mix(a.jsonl=0.7, a.jsonl=0.3)", r"^the mixture has 'a.jsonl' twice: add up its weights$"),
        ("mix(a.jsonl)", r"^the mixture cannot be read from 'a.jsonl' on: write mix\(a.jsonl=0.7"),
        ("mix(a.jsonl=half)", r"^the weight of 'a.jsonl' in the mixture is half: it should be above 0 and at most 1$"),
        ("mix(a.jsonl=-1, b.txt=2)", r"^the weight of 'a.jsonl' in the mixture is -1: it should"),
        ("mix(a.jsonl=nan)", r"^the weight of 'a.jsonl' in the mixture is nan: it should"),
        ("mix(a.jsonl=1", r"does not end with a bracket"),
        ("mix(a.jsonl=0.7, nope.txt=0.3)", r"^there is no data '.*nope.txt'"),
    ],
)
def test_mistakes(folder, text, message):
    with pytest.raises(UsageError, match=message):
        zoo.load_data(text)


def test_parts_are_drawn_by_their_weights(folder):
    data = zoo.load_data(MIX)
    assert isinstance(data, Mixture)
    texts = [
        data.tokenizer.decode(row.tolist())
        for step in range(40)
        for row in data.draw(context=40, batch=25, step=step).inputs
    ]
    assert sum("xyz" in text for text in texts) / 1000 == pytest.approx(0.3, abs=0.05)
    assert all(("xyz" in text) != ("cat" in text or "Doc" in text) for text in texts)


def test_draws_are_a_pure_function_of_seed_and_step(folder, tmp_path, monkeypatch):
    first = zoo.load_data(MIX)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "other"))
    again = zoo.load_data(MIX)
    assert first.sha256 == again.sha256
    drawn = {}
    for seed, step in [(0, 0), (0, 1), (1, 0)]:
        batch, other = (data.draw(context=30, batch=8, step=step, seed=seed) for data in (first, again))
        assert torch.equal(batch.inputs, other.inputs)
        assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])
        drawn[seed, step] = batch.inputs.numpy().tobytes()
    assert len(set(drawn.values())) == 3


def test_one_vocabulary_writes_all_parts(folder):
    data = zoo.load_data(MIX, tokenizer="char")
    assert {"\u0391", "é", "\n"} <= set(data.tokenizer.characters)
    assert all(part.tokenizer.pieces == data.tokenizer.pieces for part in data.parts)
    merged = zoo.load_data(MIX, tokenizer="bpe(vocab_size=320)")
    assert {b" cat", b" xyz"} <= set(merged.tokenizer.pieces)


def test_validation_is_in_the_proportions_of_the_mixture(folder):
    data = zoo.load_data(MIX)
    counts = [0, 0]
    for batch in data.validation_batches(context=32, batch=4):
        text = data.tokenizer.decode(batch.inputs.flatten().tolist())
        counts["xyz" in text] += int((batch.targets != IGNORE).sum())
    assert counts[1] / sum(counts) == pytest.approx(0.3, abs=0.05)
    some = sum(
        int((batch.targets != IGNORE).sum()) for batch in data.validation_batches(context=32, batch=4, limit=500)
    )
    assert 300 < some < 700
    assert data.bits_per_byte(1.0) == pytest.approx(1 / np.log(2), rel=1e-6)


def test_separate_documents_in_a_mixture(folder):
    data = zoo.load_data(MIX, documents="separate")
    batch = data.draw(context=300, batch=20, step=0)
    assert batch.documents.shape == batch.inputs.shape
    assert (batch.documents.max(1).values > 0).sum() > 5
    for row, ids in zip(batch.inputs, batch.documents, strict=True):
        if "xyz" in data.tokenizer.decode(row.tolist()):
            assert (ids == 0).all()


def test_parts_may_be_patterns_folders_and_corpora(folder, write_form):
    (folder / "set").mkdir()
    for name in ("c.jsonl", "d.jsonl"):
        write_form(folder / "set" / name, TEXTS[:50])
    data = zoo.load_data("mix(set=0.25, 'set/*.jsonl'=0.25, python-stdlib=0.5)")
    assert data.parts[0].sha256 == data.parts[1].sha256
    assert data.parts[2].index["split"] == "position"
    with pytest.raises(UsageError, match=r"^the objective masked learns from one text with a tokenizer, and mix\("):
        load_source(MIX, tokenizer="byte", validation_fraction=0.1, objective="masked")


@pytest.mark.slow
def test_a_run_on_a_mixture_is_resumed_from_another_folder(folder, monkeypatch):
    from zoo.train.session import resume, start
    from zoo.train.settings import Settings

    settings = Settings(
        data=MIX, mixer="correlation", layers=1, dim=16, heads=2, context=32, batch=4, steps=2, warmup=0,
        sample_tokens=8, threads=1,
    )  # fmt: skip
    start(settings, root=folder, out=folder / "run", pages=False)
    environment = json.loads((folder / "run" / "env.json").read_text())
    assert environment["data_path"] == f"mix({folder}/a.jsonl=0.7, {folder}/b.txt=0.3)"
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert resume(folder / "run", steps=3, pages=False).steps == 3
    (folder / "b.txt").write_text("other\n" * 500)
    with pytest.raises(UsageError, match=r"has changed since the run began"):
        resume(folder / "run", steps=4, pages=False)
