"""``zoo eval`` gives the figures of plain torch over the checkpoint, and the run's own."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import zoo as package

from .test_docs import SECTIONS


def evaluated(zoo, run, *arguments):
    result = zoo("eval", run, "--device", "cpu", "--json", *arguments)
    assert result.code == 0, result.err
    return json.loads(result.out)


@pytest.mark.slow
def test_the_figures_are_those_of_plain_torch_over_the_checkpoint(zoo, trained, text_file):
    found = evaluated(zoo, trained)
    summary = json.loads((trained / "summary.json").read_text())
    for name in ("loss", "accuracy"):
        assert found[name] == pytest.approx(summary[f"validation_{name}"], abs=1e-6)
    assert found["bits_per_byte"] == pytest.approx(summary["bits_per_byte"], abs=1e-6)
    everything = evaluated(zoo, trained, "--tokens", 10**6)
    config = json.loads((trained / "config.json").read_text())
    characters = json.loads((trained / "tokenizer.json").read_text())["characters"]
    kept = ("dim", "layers", "heads", "context", "channel_mixer", "residual", "positions", "tie_embeddings")
    model = package.build_model(config["mixer"], vocab_size=len(characters), **{name: config[name] for name in kept})
    (checkpoint,) = (trained / "checkpoints").glob("step-00000003/model.safetensors")
    model.load_state_dict(load_file(checkpoint))
    text = text_file.read_text()
    tokens = torch.tensor([characters.index(letter) for letter in text[int(len(text) * 0.9) :]])
    nats, correct = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(tokens) - 1, 16):
            window = tokens[start : start + 17]
            logits = model.eval()(window[None, :-1]).logits[0]
            nats += float(F.cross_entropy(logits.double(), window[1:], reduction="sum"))
            correct += int((logits.argmax(-1) == window[1:]).sum())
    count = len(tokens) - 1
    assert everything["targets"] == count
    assert everything["loss"] == pytest.approx(nats / count, abs=1e-6)
    assert everything["accuracy"] == correct / count
    assert everything["perplexity"] == pytest.approx(math.exp(nats / count), abs=1e-4)
    assert [result["length"] for result in everything["lengths"]] == [16, 32, 64, 128]


@pytest.mark.slow
def test_the_table_the_folder_and_the_run_that_stays_as_it_is(zoo, trained):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    result = zoo("eval", trained, "--device", "cpu", "--length", "1x,32")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    table = next(index for index, line in enumerate(lines) if line.startswith("length"))
    assert [line.split()[:2] for line in lines[table + 1 : table + 3]] == [["16", "1"], ["32", "2"]]
    assert lines[-1].split() == ["report", str(trained / "eval" / "report.html")]
    assert f"zoo eval {trained} --length 1x,32" in (trained / "eval" / "report.html").read_text()
    found = json.loads((trained / "eval" / "eval.json").read_text())
    assert f"{found['loss']:.4f} nats per token" in result.out
    assert {path: path.read_bytes() for path in before} == before
    for field in [*found, *found["lengths"][0]]:
        assert f"`{field}`" in SECTIONS["eval"], field
    assert zoo("generate", trained, "--tokens", 2).code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--length", "9999999"], "--length 9999999 is more than the text of 'text.txt' fills: choose less, or pass"),
        (["--length", "two"], "--length two should be tokens or multiples of the context, e.g. 512,1024 or 1x,8x"),
        (["--length", "1x,"], "--length 1x, should be tokens or multiples of the context"),
        (["--length", "0x"], "--length 0 should be 1 or more"),
        (["--tokens", "0"], "--tokens 0 should be 1 or more"),
        (["--data", "parity"], "learned a text and knows nothing of the task parity: pass a text to --data, or leave"),
        (["--data", "nowhere"], "there is no data 'nowhere'"),
        (["--device", "abacus"], "device 'abacus' cannot be used here; try --device cpu"),
        (["--out", "."], ". holds other files: choose another --out, so that nothing of them is lost"),
    ],
)
def test_mistakes_are_told_in_a_line(zoo, finished, tmp_path, monkeypatch, arguments, text):  # noqa: PLR0917
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note").write_text("mine")
    result = zoo("eval", finished, *arguments)
    assert (result.code, result.out) == (2, "")
    assert len(result.err.splitlines()) == 1
    assert text in result.err
    assert not (finished / "eval").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nowhere", "there is no run at nowhere: no such folder"),
        ("empty", "empty is not a run: it holds no config.json"),
    ],
)
def test_a_folder_that_is_no_run(zoo, tmp_path, monkeypatch, name, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    result = zoo("eval", name)
    assert result.code == 2
    assert result.err.startswith(f"error: {text}")
