import pytest
import torch
from torch import nn

from zoo import Mixed, TokenMixer, watch_stream
from zoo.model.backbone import Backbone
from zoo.model.layer import Layer, NamedMixer
from zoo.model.members import create_channel_mixer

from .stacks import pre_norm

DIM = 8


class Project(TokenMixer):
    def __init__(self, dim):
        super().__init__()
        self.out = nn.Linear(dim, dim)

    def forward(self, x):
        return self.out(x.cumsum(1))


class Speaks(TokenMixer):
    def forward(self, x):
        return Mixed(3 * x, {"size": x.square().mean()})


@pytest.fixture
def model():
    torch.manual_seed(0)
    layers = [
        Layer([NamedMixer("project", Project(DIM)), NamedMixer("speaks", Speaks())],
              create_channel_mixer("mlp", dim=DIM)),
        Layer([NamedMixer("project", Project(DIM))], None),
    ]  # fmt: skip
    return Backbone(layers, pre_norm(layers, DIM, 0.5), vocabulary=7, dim=DIM, context=10)


@pytest.fixture
def tokens():
    return torch.tensor([[0, 1, 2, 3, 4], [4, 5, 6, 0, 1]])


def test_each_part_is_told_in_the_order_of_the_stream(model, tokens):
    with watch_stream(model) as log:
        model(tokens)
    assert [traffic.part for traffic in log.traffic] == ["0.project", "0.speaks", "0.channel", "1.project"]
    assert all(torch.equal(traffic.added, 0.5 * traffic.write) for traffic in log.traffic)


def test_the_writes_add_up_to_the_stream(model, tokens):
    with watch_stream(model) as log:
        model(tokens)
    stream = model.embedding(tokens)
    torch.testing.assert_close(log["0.project"].stream, stream)
    for part in ("0.project", "0.speaks", "0.channel"):
        stream = stream + 0.5 * log[part].write
    torch.testing.assert_close(log["1.project"].stream, stream)


def test_a_read_is_the_stream_after_the_norm_and_a_write_what_the_part_makes_of_it(model, tokens):
    with watch_stream(model) as log:
        model(tokens)
    layer, seen = model.layers[0], log["0.project"]
    torch.testing.assert_close(seen.read, model.residual.norms[0](seen.stream))
    torch.testing.assert_close(seen.write, layer.mixers[0](seen.read))
    assert torch.equal(log["0.speaks"].read, seen.read)
    assert torch.equal(log["0.speaks"].write, 3 * seen.read)
    torch.testing.assert_close(log["0.channel"].write, layer.channel(log["0.channel"].read))


def test_norms_are_euclidean_and_those_of_writes_as_they_were_added(model, tokens):
    with watch_stream(model) as log:
        model(tokens)
    seen = log["0.speaks"]
    assert set(seen.norms) == {"stream", "read", "write"}
    torch.testing.assert_close(seen.norms["stream"], seen.stream.square().sum(-1).sqrt())
    torch.testing.assert_close(seen.norms["write"], 0.5 * seen.write.square().sum(-1).sqrt())
    assert seen.norms["read"].shape == (2, 5)


def test_what_is_captured_is_detached_and_changes_nothing(model, tokens):
    alone = model(tokens, tokens)
    with watch_stream(model) as log:
        watched = model(tokens, tokens)
    assert torch.equal(watched.logits, alone.logits)
    assert torch.equal(watched.loss, alone.loss)
    assert watched.loss.requires_grad
    assert not any(getattr(t, name).requires_grad for t in log.traffic for name in ("stream", "read", "write"))


def test_the_log_holds_the_last_forward_pass(model, tokens):
    with watch_stream(model) as log:
        model(tokens)
        model(tokens[:1, :2])
    assert len(log.traffic) == 4
    assert log["0.project"].read.shape == (1, 2, DIM)


def test_watching_ends_with_its_block_even_after_an_error(model, tokens):
    with pytest.raises(RuntimeError, match="stop"), watch_stream(model) as log:  # noqa: PT012
        model(tokens)
        raise RuntimeError("stop")
    model(tokens[:1])
    assert log["0.project"].read.shape[0] == 2
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_two_may_watch_at_once(model, tokens):
    with watch_stream(model) as outer:
        with watch_stream(model) as inner:
            model(tokens)
        model(tokens[:1])
    assert inner["0.project"].read.shape[0] == 2
    assert outer["0.project"].read.shape[0] == 1


def test_an_unknown_part_is_refused_with_those_that_there_are(model, tokens):
    with watch_stream(model) as log:
        model(tokens)
    with pytest.raises(
        KeyError, match=r"no part is named '2.project'; there are: 0.project, 0.speaks, 0.channel, 1.pr"
    ):
        log["2.project"]
