"""Training on a task: accuracy, early stopping, lengths and slices, and a readout of its own."""

import json

import numpy as np
import pytest
import torch

import zoo
from zoo.cli.train import RUNS
from zoo.data.load import load_source
from zoo.data.score import Score
from zoo.data.source import IGNORE, Batch
from zoo.data.task_data import TaskData
from zoo.errors import UsageError
from zoo.model.backbone import Backbone
from zoo.train.evaluate import evaluate
from zoo.train.loop import Trainer
from zoo.train.resolve import resolve
from zoo.train.run_directory import RunDirectory
from zoo.train.session import resume, start

from ..stacks import pre_norm  # noqa: TID252 - pytest finds the parts of the tests by where they are

TASK = "delayed-copy(length=12, vocab=4, delay=2, test_lengths=(24,))"
SMALL = {
    "mixer": "correlation",
    "data": TASK,
    "layers": 1,
    "dim": 16,
    "steps": 200,
    "lr": 1e-2,
    "evaluate_every": 20,
    "threads": 1,
    "device": "cpu",
}


def settings(**changes):
    return resolve(flags=SMALL | changes)


class Parrot(Backbone):
    """Answers every token with itself, a little louder at even positions."""

    def __init__(self, vocabulary):
        super().__init__([], pre_norm([], vocabulary), vocabulary=vocabulary, dim=vocabulary, context=4)
        with torch.no_grad():
            self.embedding.weight.copy_(torch.eye(vocabulary))


def test_accuracy_and_loss_by_hand():
    model = Parrot(4)
    inputs = torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0]])
    targets = torch.tensor([[0, IGNORE, 2, 0], [IGNORE, 2, 3, 0]])
    scored = torch.tensor([[True, False, True, True], [False, False, True, True]])
    slices = {"row": torch.tensor([[7] * 4, [8] * 4])}
    where = (targets.flatten() != IGNORE).nonzero().squeeze(1)
    for places in (where, None):
        score = evaluate(model, [Batch(inputs, targets, torch.zeros(2), places, scored, slices)], precision="fp32")
        assert (score.correct, score.scored, score.targets) == (3, 5, 6)
        assert score.accuracy == 3 / 5
        assert score.accuracies() == {"row": {"7": 2 / 3, "8": 1 / 2}}
        logits = model(inputs).logits.log_softmax(-1)
        told = [logits[b, t, targets[b, t]] for b, t in [(0, 0), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]]
        assert score.loss == pytest.approx(-float(sum(told).detach()) / 6)
    everything = evaluate(model, [Batch(inputs, targets, torch.zeros(2))], precision="fp32")
    assert (everything.correct, everything.scored, everything.slices) == (4, 6, {})


def test_loss_and_gradients_at_some_positions_are_those_of_all():
    torch.manual_seed(0)
    model = zoo.build_model("correlation", vocab_size=11, dim=16, heads=2, layers=1).double()
    tokens = torch.randint(11, (3, 8))
    targets = torch.where(torch.rand(3, 8) < 0.3, torch.randint(11, (3, 8)), IGNORE)
    where = (targets.flatten() != IGNORE).nonzero().squeeze(1)
    gradients = []
    for places in (None, where):
        model.zero_grad()
        output = model(tokens, targets, places)
        output.loss.backward()
        gradients.append([output.loss.detach(), *(parameter.grad for parameter in model.parameters())])
    assert output.logits.shape == (len(where), 11)
    torch.testing.assert_close(*gradients)


class Half(zoo.Task):
    """Asks for the second half; it has no symbol for anything but its tokens."""

    vocab_size, length = 3, 12

    def draw(self, generator, examples, *, length, test):
        inputs = generator.integers(3, size=(examples, length))
        targets = np.where(np.arange(length) < 6, IGNORE, 2 - inputs)
        scored = np.tile(np.arange(length) >= 7, (examples, 1))
        return zoo.Examples(inputs, targets, scored)

    def symbol(self, token):
        return {0: "a", 1: "b", 2: "c"}[token]


def test_a_sample_has_an_answer_at_each_scored_position_and_the_right_one_where_it_is_wrong():
    data = TaskData(Half(), "half")
    tokens = next(data.validation_batches(context=12, batch=1)).inputs[0].tolist()
    answered = ("a→a(c)", "b→b", "c→c(a)")  # a parrot says what it hears, which is right of b
    assert {0, 1, 2} == set(tokens[7:])
    expected = [*("abc"[token] for token in tokens[:7]), *(answered[token] for token in tokens[7:])]
    assert data.sample(Parrot(3), tokens=8, seed=0).split() == expected


@pytest.mark.slow
def test_a_task_is_learned_and_training_stops_when_it_is(tmp_path):
    summary = start(settings(), root=tmp_path, out=tmp_path / "run")
    assert summary.validation_accuracy >= 0.999
    assert summary.steps < 200
    assert summary.steps % 20 == 0
    assert list(summary.accuracies["length"]) == ["12", "24"]
    assert summary.accuracies["length"]["12"] == summary.validation_accuracy
    assert 0.5 < summary.accuracies["length"]["24"] < 1
    assert np.isnan(summary.bits_per_byte)
    run = RunDirectory.open(tmp_path / "run")
    assert run.metrics()[-1]["validation_accuracy"] == summary.validation_accuracy
    saved = json.loads((run.path / "summary.json").read_text())
    assert saved["validation_accuracy"] == summary.validation_accuracy
    assert saved["bits_per_byte"] is None
    assert run.environment["plugins"]["task:delayed-copy"]["distribution"] == "mixer-zoo"
    assert "→" in run.samples()[-1].text
    page = (run.path / "report.html").read_text()
    for words in ("Loss and accuracy", "by length", "of validation targets; guessing gives", TASK):
        assert words in page


@pytest.mark.slow
def test_a_run_that_was_good_enough_stays_so(tmp_path):
    first = start(settings(), root=tmp_path, out=tmp_path / "run")
    again = resume(tmp_path / "run", steps=400)
    assert again.steps == first.steps
    assert again.validation_accuracy == first.validation_accuracy


@pytest.mark.slow
def test_a_run_that_was_good_enough_has_finished(tmp_path):
    first = start(settings(), root=tmp_path, out=tmp_path / "run", pages=False)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert first.steps < settings().steps
    assert resume(tmp_path / "run", pages=False) == first
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def scored(accuracy):
    """A score of ten answers."""
    right = round(10 * accuracy)
    return Score(10.0, 10, right, 10, sequences=[torch.tensor([[10.0, 10, right, 10]], dtype=torch.float64)])


@pytest.mark.slow
def test_without_a_threshold_it_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "measure", lambda trainer, limit: scored(1.0))
    made = settings(steps=6, evaluate_every=2)
    assert start(made, root=tmp_path, out=tmp_path / "stops").steps == 2
    endless = made.model_copy(update={"stop_accuracy": None})
    assert start(endless, root=tmp_path, out=tmp_path / "goes-on").steps == 6


@pytest.mark.slow
def test_what_few_tokens_say_is_asked_of_all_before_training_stops(tmp_path, monkeypatch):
    asked = []

    def measure_flattered(trainer, limit):
        asked.append(limit)
        return scored(0.1 if limit is None else 1.0)

    monkeypatch.setattr(Trainer, "measure", measure_flattered)
    flattered = settings(steps=6, stop_accuracy=0.5, evaluate_every=2).model_copy(update={"evaluation_tokens": 12})
    summary = start(flattered, root=tmp_path, out=tmp_path / "run")
    assert summary.steps == 6
    assert asked == [12, None, 12, None, None]


@pytest.mark.slow
def test_a_loaded_run_knows_its_task_and_does_not_write_text(tmp_path):
    start(settings(steps=5), root=tmp_path, out=tmp_path / "run")
    run = zoo.load_run(tmp_path / "run")
    assert run.tokenizer is None
    assert run.model.vocabulary == load_source(TASK, tokenizer="byte", validation_fraction=0.1).vocab_size
    with pytest.raises(UsageError, match=r"learned the task delayed-copy\(.*\) and not a text, so it cannot write one"):
        run.generate("a")


@pytest.mark.slow
def test_a_task_with_a_readout(tmp_path):
    made = settings(data="compression(length=6, vocab=5, examples=100)", steps=5, batch=8, heads=2)
    summary = start(made, root=tmp_path, out=tmp_path / "run")
    run = zoo.load_run(tmp_path / "run")
    assert run.model.readout is not None
    assert any(name.startswith("readout.") for name in run.model.state_dict())
    assert summary.parameters == sum(parameter.numel() for parameter in run.model.parameters())
    with pytest.raises(UsageError, match=r"^this model predicts for whole sequences"):
        run.model.step(torch.zeros(1, 1, dtype=torch.int64))


@pytest.mark.slow
def test_lengths_beyond_learned_positions_are_left_out(tmp_path):
    made = settings(steps=5).model_copy(update={"positions": "learned"})
    assert list(start(made, root=tmp_path, out=tmp_path / "run").accuracies["length"]) == ["12"]


# Where the settings start from


def test_a_task_sets_the_context_and_what_its_definition_asks_for():
    made = resolve(flags={"data": "mqar(length=32)"})
    assert (made.context, made.layers, made.heads, made.channel_mixer) == (32, 2, 1, "none")
    assert made.stop_accuracy == 0.999
    assert resolve(flags={"data": "mqar", "layers": 1}).layers == 1
    assert resolve(flags={"data": "mqar"}, preset="quick").channel_mixer == "swiglu"
    assert resolve(flags={"data": "mqar"}, preset="quick").context == 64


def test_a_context_that_is_not_the_task_s_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"^context=5, but the task delayed-copy"):
        start(settings(context=5), root=RUNS, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_for_a_task_is_refused():
    with pytest.raises(UsageError, match=r"^the task mqar has tokens of its own .*: leave out `tokenizer`$"):
        resolve(flags={"data": "mqar", "tokenizer": "char"})
    assert resolve(flags={"data": "python-stdlib", "tokenizer": "char"}).tokenizer == "char"
