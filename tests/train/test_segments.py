"""Sequences in segments: the gradient ends where its segment begins, and the states go on."""

import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import zoo
from zoo.errors import UsageError
from zoo.train.segments import losses_by_segment
from zoo.train.session import model_of, resume, start
from zoo.train.settings import validate

TOKENS = 7


@pytest.fixture
def batch():
    torch.manual_seed(0)
    tokens, targets = torch.randint(TOKENS, (2, 3, 12))
    targets[:, 1::3] = -100
    return tokens, targets


def built(mixer):
    torch.manual_seed(1)
    model = zoo.build_model(mixer, vocab_size=TOKENS, layers=2, dim=16, heads=2, context=12).double()
    with torch.no_grad():
        for parameter in model.parameters():  # some begin at zero, and hide what comes before
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def gradients(model, loss):
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


MIXERS = ["gla", "mamba2", "deltanet", "involution", "min-gru", "rwkv7", "gla, dot-product(window=3)"]


@pytest.mark.parametrize("mixer", MIXERS)
def test_the_losses_of_all_segments_are_that_of_the_whole(mixer, batch):
    model = built(mixer)
    for segment in (1, 4, 5, 11):
        summands = list(losses_by_segment(model, *batch, segment))
        assert sum(summands).item() == pytest.approx(model(*batch).loss.item())


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_gradient_ends_where_its_segment_begins(mixer, batch):
    """Against states that are made without gradients from all that comes before a segment, at once."""
    (tokens, targets), model, count = batch, built(mixer), (batch[1] != -100).sum()
    wanted = []
    for begin in (0, 5, 10):
        state = None
        if begin:
            with torch.no_grad():
                _, state = model.step(tokens[:, :begin])
        logits, _ = model.step(tokens[:, begin : begin + 5], state)
        nats = F.cross_entropy(logits.flatten(0, 1), targets[:, begin : begin + 5].flatten(), reduction="none")
        wanted.append(nats.sum() / count)
    expected = gradients(model, sum(wanted))
    found = gradients(model, sum(losses_by_segment(model, tokens, targets, 5)))
    whole = gradients(model, model(tokens, targets).loss)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient)
    assert any(not torch.allclose(whole[name], gradient) for name, gradient in expected.items())


def test_a_segment_without_targets_has_no_loss_and_passes_its_state_on(batch):
    (tokens, targets), model = batch, built("gla")
    targets[:, :8] = -100
    losses = list(losses_by_segment(model, tokens, targets, 4))
    assert len(losses) == 1
    assert losses[0].item() == pytest.approx(model(tokens, targets).loss.item())


PASSING = {"mixer": "gla", "segment": 4, "schedule": "constant", "steps": 12}


def test_a_run_in_segments_learns_and_is_resumed_bit_for_bit(tiny, tmp_path):
    whole = start(tiny(**PASSING), root=tmp_path, out=tmp_path / "whole", pages=False)
    start(tiny(**PASSING | {"steps": 7}), root=tmp_path, out=tmp_path / "cut", pages=False)
    resume(tmp_path / "cut", steps=12, pages=False)
    paths = [max((tmp_path / name / "checkpoints").glob("*/model.safetensors")) for name in ("whole", "cut")]
    first, second = map(load_file, paths)
    assert all(torch.equal(first[name], second[name]) for name in first)
    start(tiny(**PASSING | {"segment": None}), root=tmp_path, out=tmp_path / "other", pages=False)
    other = load_file(max((tmp_path / "other/checkpoints").glob("*/model.safetensors")))
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert whole.train_loss < math.log(256)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"segment": 16}, "`segment`=16 should be less than the 16 tokens of a sequence"),
        (
            {"mixer": "dot-product"},
            "keeps every token, 64 numbers each: 0.1 MB in fp32 for a batch of 16 sequences of 16",
        ),
        ({"mixer": "gla, correlation"}, "choose mixers with a constant state, see `zoo list`"),
        ({"mixer": "leviathan-moe"}, "leviathan-moe has losses or metrics of its own, which only whole sequences give"),
        ({"compile": True}, "segments go through `step`, which is not compiled"),
        ({"documents": "separate"}, "a state goes from one document to the next"),
        ({"objective": "masked", "mixer": "identity"}, "the masked objective looks at whole sequences"),
    ],
)
def test_what_cannot_be_cut_is_refused_in_one_line(changes, words):
    sizes = {"layers": 2, "dim": 16, "heads": 2, "context": 16, "mixer": "gla", "segment": 4}
    with pytest.raises(UsageError) as refusal:
        model_of(validate({**sizes, **changes}), zoo_registry(), vocab_size=TOKENS)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def zoo_registry():
    from zoo.plugin.registry import get_registry

    return get_registry()


def test_a_readout_looks_at_whole_sequences():
    sizes = {"layers": 1, "dim": 16, "heads": 2, "context": 16, "mixer": "gla", "segment": 4}
    with pytest.raises(UsageError, match="the readout of this task looks at whole sequences"):
        model_of(validate(sizes), zoo_registry(), vocab_size=TOKENS, make_readout=lambda dim: torch.nn.Linear(dim, dim))
