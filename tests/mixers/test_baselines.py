"""Mixers that do not look at what they mix, against their equations; their laws are tested elsewhere."""

import pytest
import torch
from torch.nn.functional import gelu
from torch.testing import assert_close

from mixers.baselines.causal_mlp import CausalMLP
from mixers.baselines.identity import Identity
from mixers.baselines.pooling import Pooling
from mixers.baselines.synthesizer import Synthesizer

EXACT = {"rtol": 1e-9, "atol": 1e-9}
DIM, TIME = 8, 9


def built(mixer, **options):
    """A mixer in float64, with noise on its parameters, and reads."""
    torch.manual_seed(0)
    mix = mixer(DIM, **options).double()
    for parameter in mix.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return mix.requires_grad_(False), torch.randn(2, TIME, DIM, dtype=torch.float64)


@pytest.mark.parametrize("window", [2, 4, None])
def test_pooling_is_the_mean_less_the_read(window):
    mix, x = built(Pooling, window=window)
    means = [x[:, max(0, t + 1 - (window or TIME)) : t + 1].mean(1) for t in range(TIME)]
    assert_close(mix(x), torch.stack(means, dim=1) - x, **EXACT)
    assert not list(mix.parameters())


def test_pooling_counts_the_reads_of_each_row():
    mix, x = built(Pooling, window=8)
    states = [mix.step(x[:1, :age])[1] for age in (1, 3)]
    joined = {name: torch.cat([state[name] for state in states]) for name in states[0]}
    both, _ = mix.step(x[:, 3:5], joined)
    assert_close(both[:1], mix.step(x[:1, 3:5], states[0])[0], **EXACT)
    assert_close(both[1:], mix.step(x[1:, 3:5], states[1])[0], **EXACT)


def test_the_synthesizer_attends_by_position_alone():
    mix, x = built(Synthesizer, heads=2, context=12)
    value = mix.project_in(x).unflatten(-1, (2, 4)).transpose(1, 2)
    scores = (10 * mix.logits[:, :TIME, :TIME]).exp().tril()
    read = (scores / scores.sum(-1, keepdim=True)) @ value
    assert_close(mix(x), mix.project_out(read.transpose(1, 2).flatten(2)), **EXACT)


def test_the_causal_mlp_is_its_equation():
    mix, x = built(CausalMLP, width=6, context=12)
    kept, mixed = gelu(mix.project_in(x)).chunk(2, dim=-1)
    gates = mix.matrix[:TIME, :TIME].tril() @ mix.norm(mixed) + mix.bias[:TIME, None]
    assert_close(mix(x), mix.project_out(kept * gates), **EXACT)


def test_the_causal_mlp_mixes_next_to_nothing_at_the_start():
    torch.manual_seed(0)
    mix = CausalMLP(DIM, context=TIME)
    gates = mix._gate(mix._halves(torch.randn(1, TIME, DIM))[1], 0)
    assert (gates - 1).abs().max() < 0.02
    assert not torch.equal(gates, torch.ones_like(gates))


@pytest.mark.parametrize("mixer", [Synthesizer, CausalMLP])
def test_sequences_longer_than_the_context_are_refused(mixer):
    mix, x = built(mixer, context=TIME)
    assert mix.max_length == TIME
    _, state = mix.step(x)
    message = f"{TIME + 1} tokens are more than its context={TIME}: build it with a longer one"
    with pytest.raises(ValueError, match=message):
        mix.step(x[:, :1], state)
    with pytest.raises(ValueError, match=message):
        mix(torch.cat([x, x[:, :1]], dim=1))


def test_the_identity_is_a_linear_map():
    mix, x = built(Identity, bias=True)
    assert_close(mix(x), x @ mix.project.weight.T + mix.project.bias, **EXACT)


def test_panels_show_the_leading_block():
    for mixer in (Synthesizer, CausalMLP):
        mix, x = built(mixer, context=12)
        (panel,) = mix.panels(x)
        assert panel.values.shape[-2:] == (TIME, TIME)
        assert not panel.values.triu(1).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pooling(8, window=1), "window must be 2 or more, not 1"),
        (lambda: Synthesizer(8, context=0), "context must be 1 or more, not 0"),
        (lambda: CausalMLP(8, context=0), "context must be 1 or more, not 0"),
        (lambda: CausalMLP(8, width=0), "width must be 1 or more, not 0"),
    ],
)
def test_options_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()
