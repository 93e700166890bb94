"""An encoder from a file of fifteen lines: trained on masked tokens, compared, and refused to continue a text."""

import json
import re
from pathlib import Path

import pytest

BOTH_WAYS = '''from torch.nn import Linear
from torch.nn.functional import pad
from zoo import TokenMixer

class BothWays(TokenMixer):
    """Each token writes the mean of its two neighbours' projected reads."""

    causal = False

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.left, self.right = Linear(dim, dim), Linear(dim, dim)

    def forward(self, x):
        return (self.left(pad(x, (0, 0, 1, 0))[:, :-1]) + self.right(pad(x, (0, 0, 0, 1))[:, 1:])) / 2
'''


@pytest.fixture
def file(tmp_path, monkeypatch):
    assert len(BOTH_WAYS.splitlines()) <= 15
    monkeypatch.chdir(tmp_path)
    (tmp_path / "both_ways.py").write_text(BOTH_WAYS)
    return "both_ways.py"


@pytest.mark.slow
def test_it_trains_and_tells_the_unigram_loss_and_generates_nothing(zoo, tiny, file):
    result = zoo("-p", file, "train", *tiny, "--mixer", "both-ways", "--objective", "masked", "--out", "run")
    assert result.code == 0, result.err
    for line in (
        r"loss +\d\.\d{4} nats per masked token of validation text \(\d\.\d{4} in training\)",
        r" +\d\.\d{4} is the unigram loss, of token frequencies alone",
    ):
        assert re.search(f"^{line}$", result.out, re.MULTILINE)
    assert "zoo generate" not in result.out
    assert "bits per byte" not in result.out
    refused = zoo("-p", file, "generate", "run")
    told = "run learned to fill in masked tokens and cannot continue a text; what it fills in is in samples.txt there"
    assert (refused.code, refused.out, refused.err) == (2, "", f"error: {told}\n")
    inspected = zoo("-p", file, "inspect", "run", "--tokens", 64)
    assert inspected.code == 0, inspected.err
    assert json.loads(Path("run/inspection/inspection.json").read_text())["unit"] == "nats per masked token"


def test_a_mistake_in_the_objective(zoo, tiny):
    result = zoo("train", *tiny, "--objective", "maskd")
    expected = "there is no objective 'maskd' (did you mean 'masked'?); there are: next-token, masked"
    assert (result.code, result.err) == (2, f"error: {expected}\n")


@pytest.mark.slow
def test_a_benchmark_of_it_has_no_decoding(zoo, file):
    sizes = ["--lengths", "16", "--repeats", "1", "--dim", "16", "--device", "cpu", "--threads", "1"]
    result = zoo("-p", file, "bench", "both-ways", *sizes, "--what", "forward,decode", "--out", "bench")
    assert result.code == 1
    failures = [line for line in result.out.splitlines() if line.startswith("failed: ")]
    reason = "BothWays is not causal, so the model cannot continue a sequence"
    assert failures == [f"failed: both-ways, decode at 16: {reason}"]


@pytest.mark.slow
def test_a_comparison_fills_in_the_same_tokens(zoo, text_file, file):
    sizes = ["--layers", 1, "--dim", 16, "--heads", 2, "--device", "cpu", "--jobs", 1, "--seeds", 2]
    sizes += ["--budget", "steps:5", "--set", "context=16", "--set", "final_evaluation_tokens=64"]
    asked = ["both-ways", "dot-product", "--data", text_file, "--objective", "masked", *sizes, "--out", "comparison"]
    result = zoo("-p", file, "compare", *asked)
    assert result.code == 0, result.err
    summaries = [json.loads(path.read_text()) for path in Path("comparison/runs").glob("*/*/summary.json")]
    losses = {summary["unigram_loss"] for summary in summaries}
    assert len(losses) == 1
    assert f"These are masked tokens; their unigram loss is {losses.pop():.3f}." in result.out
    assert "validation loss (nats per masked token)" in Path("comparison/report.html").read_text()


@pytest.mark.slow
def test_it_beats_the_unigram_loss_on_the_embedded_text(zoo, file):
    sizes = ["--layers", 2, "--dim", 64, "--context", 64, "--steps", 300, "--device", "cpu"]
    sizes += ["--set", "threads=1", "--set", "final_evaluation_tokens=32768"]
    result = zoo("-p", file, "train", "--mixer", "both-ways", "--objective", "masked", *sizes, "--out", "run", "--json")
    assert result.code == 0, result.err
    summary = json.loads(result.out)
    assert summary["bits_per_byte"] is None
    assert summary["validation_loss"] < summary["unigram_loss"] - 0.8
