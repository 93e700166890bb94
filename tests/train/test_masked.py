"""Runs that predict masked tokens, with a mixer that sees the text on both sides of them."""

import json
import math
import re

import pytest
import torch
from torch import nn

import zoo
from zoo.errors import UsageError
from zoo.lab.compare.planning import make_plan as plan_comparison
from zoo.lab.compare.request import Request
from zoo.plugin.registry import get_registry
from zoo.train.evaluate import evaluate
from zoo.train.find_data import source_of
from zoo.train.interrupts import Interrupts
from zoo.train.manifest import write_sealed
from zoo.train.resolve import resolve
from zoo.train.run_directory import RunDirectory
from zoo.train.session import Interrupted, model_for, resume, start


class BothWays(zoo.TokenMixer):
    """Each token writes a projection of its two neighbours."""

    causal = False

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.taps = nn.Conv1d(dim, dim, 3, padding=1)

    def forward(self, x):
        return self.taps(x.mT).mT


@pytest.fixture
def masked(tiny, registered):
    registered("both-ways", BothWays)
    return lambda **changes: tiny(**{"mixer": "both-ways", "objective": "masked"} | changes)


def files(path):
    names = ["metrics.jsonl", "samples.txt", "scores.safetensors", "checkpoints/step-00000010/model.safetensors"]
    return {name: (path / name).read_bytes() for name in names}


@pytest.mark.slow
def test_a_run_and_what_it_leaves(masked, tmp_path):
    summary = start(masked(), root=tmp_path, out=tmp_path / "run")
    assert math.isnan(summary.bits_per_byte)
    saved = json.loads((tmp_path / "run/summary.json").read_text())
    assert (saved["bits_per_byte"], saved["unigram_loss"]) == (None, summary.unigram_loss)
    run = RunDirectory.open(tmp_path / "run")
    assert run.config["objective"] == "masked"
    measured = [row for row in run.metrics() if "validation_loss" in row]
    assert measured[-1]["unigram_loss"] == summary.unigram_loss
    assert all(1 < row["unigram_loss"] < math.log(256) for row in measured)
    assert re.search(r"⟦[^|⟧]+(\|[^⟧]+)?⟧", (tmp_path / "run/samples.txt").read_text())
    page = (tmp_path / "run/report.html").read_text()
    assert f"nats per masked token; the unigram loss is {summary.unigram_loss:.4f}" in page
    assert "What it fills in" in page
    assert "zoo generate" not in page
    assert "bits per byte" not in page
    loaded = zoo.load_run(tmp_path / "run")
    assert loaded.model.vocabulary == 257
    with pytest.raises(UsageError, match="learned to fill in masked tokens and cannot continue a text; what it fills"):
        loaded.generate("def ")
    again = resume(tmp_path / "run")  # it has finished
    assert again.unigram_loss == summary.unigram_loss


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_interrupted_run_ends_as_one_that_was_not(masked, tmp_path, accumulate):
    settings = masked(steps=10, accumulate=accumulate, objective="masked(rate=0.3)")
    start(settings, root=tmp_path, out=tmp_path / "whole", pages=False)

    class After(Interrupts):
        steps = 0

        @property
        def requested(self):
            self.steps += 1
            return self.steps > 4

        @requested.setter
        def requested(self, value):
            pass

    with pytest.raises(Interrupted):
        start(settings, root=tmp_path, out=tmp_path / "cut", interrupts=After(), pages=False)
    resume(tmp_path / "cut", pages=False)
    assert files(tmp_path / "whole") == files(tmp_path / "cut")


@pytest.mark.slow
def test_separate_documents_are_filled_in_by_themselves(masked, tmp_path):
    (tmp_path / "texts").mkdir()
    for index in range(60):
        (tmp_path / f"texts/{index}.txt").write_text(f"text {index} " * (1 + index % 4))
    settings = masked(data=str(tmp_path / "texts"), documents="separate")
    source = source_of(settings)
    model = model_for(source, settings, get_registry()).eval()
    batch = source.draw(context=16, batch=4, seed=0, step=0)
    logits = model(batch.inputs, documents=batch.documents).logits
    other = torch.where(batch.documents == 0, batch.inputs, (batch.inputs + 1) % 256)
    changed = model(other, documents=batch.documents).logits
    first = batch.documents == 0
    assert torch.equal(logits[first], changed[first])
    assert not torch.equal(logits[~first], changed[~first])
    assert start(settings, root=tmp_path, out=tmp_path / "run", pages=False).steps == 20


def test_a_guess_stands_where_a_token_is_masked(masked):
    settings = masked()
    source = source_of(settings)
    model = model_for(source, settings, get_registry())
    text = source.sample(model, tokens=32, seed=0)
    windows = list(source.validation_batches(context=16, batch=2, limit=32))
    assert text.count("⟦") == sum(len(batch.where) for batch in windows) == 4
    targets = [target for batch in windows for target in batch.at_predictions(batch.targets).tolist()]
    tokens = [re.sub(r".*\|", "", found) for found in re.findall("⟦(.*?)⟧", text)]
    assert tokens == [repr(chr(target))[1:-1] for target in targets]
    assert model.training


def test_a_mixer_that_is_not_causal_cannot_predict_the_next_token_or_do_a_task(masked, tiny, tmp_path):
    for settings in (tiny(mixer="dot-product/both-ways"), masked(objective="next-token")):
        with pytest.raises(UsageError, match=r"is not causal: it would see the next token.*`objective`=masked$"):
            start(settings, root=tmp_path)
    task = resolve(flags={"mixer": "both-ways", "data": "mqar"})
    with pytest.raises(UsageError, match=r"^both-ways is not causal, and the targets of the task mqar may stand among"):
        start(task, root=tmp_path)
    data = str(masked().data)
    with pytest.raises(UsageError, match=r"^both-ways is not causal: it would see the next token"):
        plan_comparison(Request(("dot-product", "both-ways"), (data,), "smoke"))


@pytest.mark.slow
def test_a_causal_mixer_may_fill_in_too(masked, tmp_path):
    start(masked(mixer="dot-product"), root=tmp_path, out=tmp_path / "run", pages=False)
    with pytest.raises(UsageError, match="cannot continue a text"):
        zoo.load_run(tmp_path / "run").generate("x")


def test_the_words_of_the_setting():
    assert resolve().objective == "next-token"
    assert resolve(assignments=["objective=masked(rate=0.30)"]).objective == "masked(rate=0.3)"
    with pytest.raises(UsageError, match=r"^there is no objective 'maskd' \(did you mean 'masked'\?\)"):
        resolve(flags={"objective": "maskd"})
    with pytest.raises(UsageError, match=r"^the task mqar has targets of its own: leave out `objective`$"):
        resolve(flags={"objective": "masked", "data": "mqar"})


def test_a_run_from_before_the_setting_predicts_the_next_token(tiny, tmp_path):
    start(tiny(steps=4), root=tmp_path, out=tmp_path / "run", pages=False)
    run = RunDirectory.open(tmp_path / "run")
    run.write_config({name: value for name, value in run.config.items() if name != "objective"})
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    later = ("unigram_loss", "metric", "unit", "writes_text")
    write_sealed(run.path, "summary.json", json.dumps({n: v for n, v in summary.items() if n not in later}))
    assert resume(tmp_path / "run", pages=False).steps == 4
    assert "".join(zoo.load_run(tmp_path / "run").generate("def", tokens=3)) is not None


@pytest.mark.slow
def test_an_encoder_beats_the_unigram_loss(masked, tmp_path):
    sizes = {"dim": 64, "layers": 2, "context": 64, "batch": 16, "final_evaluation_tokens": 32768}
    settings = masked(data="python-stdlib", steps=300, dropout=0.0, lr=3e-3, warmup=20, **sizes)
    summary = start(settings, root=tmp_path, out=tmp_path / "run", pages=False)
    assert summary.validation_loss < summary.unigram_loss - 0.8
    source = source_of(settings)
    batches = list(source.validation_batches(context=64, batch=16, limit=32768))
    measured = evaluate(zoo.load_run(tmp_path / "run").model, batches, precision="fp32")
    assert measured.loss == pytest.approx(summary.validation_loss)
