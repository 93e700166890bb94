"""Scores by position are those of plain torch, and cutting windows changes what is seen, never what is predicted."""

import pytest
import torch
import torch.nn.functional as F

import zoo
from zoo.data.batches import evaluation_windows
from zoo.data.source import IGNORE, Batch
from zoo.lab.evaluation.measure import PositionScores, measure_cut, measure_windows
from zoo.train.evaluate import evaluate

TOKENS = torch.randint(11, (333,), generator=torch.Generator().manual_seed(0)).numpy()


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = zoo.build_model("dot-product", vocab_size=11, dim=16, layers=1, heads=2, context=64).eval()
        torch.nn.init.normal_(built.embedding.weight)  # so that predictions differ from place to place
    return built


def windows(context, *, separator=None, batch=3):
    return list(evaluation_windows(TOKENS, context=context, batch=batch, separator=separator))


@torch.no_grad()
def plain(model, inputs, targets, documents=None):
    """Nats of each position, ``(b, t)``, and zero where there is no target."""
    logits = model(inputs, documents=documents).logits.double()
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="none").view_as(
        targets
    )


@pytest.mark.parametrize("separator", [None, 3])
def test_windows_score_as_the_training_loop_scores_them_and_by_position_as_plain_torch(model, separator):
    batches = windows(16, separator=separator)
    scores, expected = measure_windows(model, batches, precision="fp32"), evaluate(model, batches, precision="fp32")
    assert scores.loss == pytest.approx(expected.loss, abs=1e-6)
    assert (scores.accuracy, scores.targets) == (expected.accuracy, expected.targets)
    nats = torch.cat([plain(model, b.inputs, b.targets, b.documents) for b in batches])
    counts = torch.cat([b.targets != IGNORE for b in batches]).sum(0)
    assert scores.losses == pytest.approx((nats.sum(0) / counts).tolist(), abs=1e-6)


@pytest.mark.parametrize("tokens", [1, 64, 10_000])
@pytest.mark.parametrize("length", [8, 16, 32, 64])
def test_every_length_has_the_same_targets_each_predicted_from_its_own_window(model, length, tokens):
    long = windows(64)
    every, last = measure_cut(model, long, length=length, tokens=tokens, precision="fp32")
    assert every.targets == len(TOKENS) - 1
    inputs, targets = (torch.cat([getattr(b, name) for b in long]) for name in ("inputs", "targets"))
    nats = plain(model, inputs.view(-1, length), targets.view(-1, length))
    assert every.sums[0].tolist() == pytest.approx(nats.sum(0).tolist(), abs=1e-4)
    ends = nats.view(len(inputs), -1, length)[:, -1]
    assert last.sums[0].tolist() == pytest.approx(ends.sum(0).tolist(), abs=1e-4)
    assert last.last(8).targets == int((targets[:, -8:] != IGNORE).sum())


def test_a_length_that_does_not_divide_the_longest_leaves_out_the_first_tokens(model):
    (long,) = windows(60, batch=100)
    every, last = measure_cut(model, [long], length=25, tokens=100, precision="fp32")
    assert every.targets == int((long.targets[:, 10:] != IGNORE).sum())
    nats = plain(model, long.inputs[:, 35:], long.targets[:, 35:])
    assert last.sums[0].tolist() == pytest.approx(nats.sum(0).tolist(), abs=1e-4)


def test_documents_and_places_are_cut_with_the_tokens(model):
    long = windows(32, separator=3)
    every, _ = measure_cut(model, long, length=16, tokens=64, precision="fp32")
    expected = sum(
        plain(model, *(getattr(b, n).view(-1, 16) for n in ("inputs", "targets", "documents"))).sum() for b in long
    )
    assert float(every.sums[0].sum()) == pytest.approx(float(expected), abs=1e-4)
    batch = long[0]
    targets = torch.where(torch.arange(32) % 5 == 0, batch.targets, IGNORE)
    where = (targets.flatten() != IGNORE).nonzero().squeeze(1)
    sparse = Batch(batch.inputs, targets, batch.offsets, where)
    every, _ = measure_cut(model, [sparse], length=8, tokens=16, precision="fp32")
    assert every.targets == len(where)
    nats = plain(model, batch.inputs.view(-1, 8), targets.view(-1, 8))
    assert every.sums[0].tolist() == pytest.approx(nats.sum(0).tolist(), abs=1e-4)


def test_without_a_target_there_is_no_figure():
    scores = PositionScores(torch.zeros(3, 2, dtype=torch.float64))
    assert str((scores.loss, scores.accuracy, scores.losses)) == "(nan, nan, [nan, nan])"
