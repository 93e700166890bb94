import copy

import pytest
import torch
from torch import nn

import zoo
from zoo.errors import UsageError
from zoo.lab.size import measure_size
from zoo.model.backbone import Backbone
from zoo.model.layer import Layer, NamedMixer
from zoo.train.flops import count_flops

from ..stacks import pre_norm  # noqa: TID252 - pytest finds the parts of the tests by where they are

D, VOCABULARY = 32, 50


def model(pattern="dot-product", **settings):
    torch.manual_seed(0)
    given = {"vocab_size": VOCABULARY, "dim": D, "layers": 2, "context": 64, "channel_mixer": "mlp(hidden=40)"}
    return zoo.build_model(pattern, **given | settings)


def test_the_size_of_a_transformer_by_hand():
    size = measure_size(model(positions="learned"), length=16)
    layer = 4 * D * D + 2 * D * 40
    embeddings = (VOCABULARY + 64) * D
    assert size.embedding_parameters == embeddings
    assert size.parameters == size.active_parameters == 2 * layer + embeddings + 5 * D
    attention, rotary = 4 * 16 * D, 4 * 2 * D
    forward = 2 * (2 * layer + attention + rotary) + 2 * D * VOCABULARY
    norms = 5 * 8 * D  # in the backward pass: two products with a vector, and two multiply-adds a channel
    assert size.forward_flops == forward
    assert size.training_flops == 3 * forward + 2 * (attention // 2 - rotary) + norms
    assert size.state == 2 * (2 * 16 * D + 1)


@pytest.mark.slow
def test_the_state_is_that_of_all_mixers():
    sizes = [measure_size(model(pattern), length=64).state for pattern in ("involution", "dot-product")]
    both = measure_size(model("involution + dot-product"), length=64).state
    assert both == sum(sizes) == 2 * 6 * D + 2 * (2 * 64 * D + 1)


@pytest.mark.slow
def test_experts_that_a_token_does_not_use_are_not_active():
    size = measure_size(model("leviathan-moe(experts=5, top_k=2)"), length=64)
    assert size.parameters - size.active_parameters == 2 * 3 * (2 * D * D + 4 * 3)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["correlation + involution", "leviathan-moe"])
@pytest.mark.parametrize("length", [16, 64])
def test_a_token_costs_in_a_batch_what_it_costs_in_one_sequence(pattern, length):
    one, batch = model(pattern), torch.zeros(3, length, dtype=torch.int64)

    def train():
        one(batch, batch).loss.backward()

    assert count_flops(train) == 3 * length * measure_size(one, length=length).training_flops


@pytest.mark.slow
def test_dropout_and_activation_checkpointing_change_nothing():
    plain, other = model(), model(dropout=0.5)
    other.activation_checkpointing = True
    other.train()
    assert measure_size(other, length=16) == measure_size(plain, length=16)
    assert other.activation_checkpointing


@pytest.mark.slow
def test_a_model_in_half_precision_is_as_big():
    assert measure_size(model("correlation").to(torch.bfloat16), length=16) == measure_size(
        model("correlation"), length=16
    )


@pytest.mark.slow
def test_everything_is_left_as_it_was():
    one = model("leviathan-moe", dropout=0.5).eval()
    one.layers[0].train()
    one(torch.ones(1, 4, dtype=torch.int64)).logits.sum().backward()
    before, gradients = copy.deepcopy(one), [parameter.grad.clone() for parameter in one.parameters()]
    random = torch.get_rng_state()
    measure_size(one, length=48)
    assert torch.equal(torch.get_rng_state(), random)
    assert [part.training for part in one.modules()] == [part.training for part in before.modules()]
    assert all(torch.equal(now.grad, then) for now, then in zip(one.parameters(), gradients, strict=True))
    for now, then in zip(one.parameters(), before.parameters(), strict=True):
        assert torch.equal(now, then)
    for now, then in zip(one.buffers(), before.buffers(), strict=True):
        assert torch.equal(now, then)


class Lookahead(zoo.TokenMixer):
    causal = False

    def forward(self, x):
        return x.flip(1)


class Unstreamed(zoo.TokenMixer):
    def forward(self, x):
        return -x

    def step(self, x, state=None):
        raise NotImplementedError("whole sequences only")


@pytest.mark.parametrize("mixer", [Lookahead(), Unstreamed()])
def test_a_model_that_cannot_stream_has_no_state(mixer):
    layer = Layer([NamedMixer("it", mixer)], None)
    size = measure_size(Backbone([layer], pre_norm([layer], D), vocabulary=VOCABULARY, dim=D, context=64), length=16)
    assert size.state is None
    assert size.forward_flops == 2 * D * VOCABULARY


def test_the_default_state_is_every_read():
    class Sum(zoo.TokenMixer):
        def forward(self, x):
            return x.cumsum(1)

    layer = Layer([NamedMixer("sum", Sum())], nn.Identity())
    assert (
        measure_size(Backbone([layer], pre_norm([layer], D), vocabulary=VOCABULARY, dim=D, context=64), length=16).state
        == 16 * D
    )


def test_more_tokens_than_the_model_takes_are_refused():
    with pytest.raises(UsageError, match="a sequence of 65 tokens is longer than the 64 learned positions"):
        measure_size(model(positions="learned"), length=65)


@pytest.mark.slow
def test_what_is_not_predicted_is_not_computed():
    whole, some = (measure_size(model(), length=16, targets=targets) for targets in (None, 4))
    unembedding = 2 * D * VOCABULARY
    assert whole.forward_flops - some.forward_flops == unembedding * 12 / 16
    assert whole.training_flops - some.training_flops == 3 * unembedding * 12 / 16
    assert (whole.parameters, whole.state) == (some.parameters, some.state)


@pytest.mark.slow
def test_a_readout_computes_and_remembers_nothing():
    readout = nn.Linear(D, D, bias=False)
    plain, read = measure_size(model(), length=16), measure_size(model(readout=readout), length=16)
    assert read.state == plain.state
    assert read.parameters == plain.parameters + D * D
    assert read.forward_flops == plain.forward_flops + 2 * D * D
