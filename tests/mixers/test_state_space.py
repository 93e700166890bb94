"""Mixers with a gated state and a layer of their own: each against its equation, one token at a time."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mixers.ops.decay import decay_reference
from mixers.ops.mamba3 import mamba3_reference
from mixers.ops.mlstm import mlstm_reference
from mixers.ops.shortconv import shortconv_reference
from mixers.ops.slots import gsa_reference
from mixers.state_space import MIXERS
from mixers.state_space.gsa import GSA
from mixers.state_space.mamba2 import Mamba2
from mixers.state_space.mamba3 import Mamba3
from mixers.state_space.mlstm import MLSTM
from mixers.state_space.rwkv6 import RWKV6
from mixers.state_space.rwkv_channel import RWKVChannel
from zoo.testing.running import drawn

EXACT = {"rtol": 1e-10, "atol": 1e-10}
DIM, T = 8, 5


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def judged(mixer):
    """With noise on every parameter, in float64, and reads for it."""
    return drawn(mixer.double()), torch.randn(2, T, DIM, dtype=torch.float64)


def rms(x):
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()


def by_head(x, heads):
    return x.unflatten(-1, (heads, -1))


def test_mamba2_is_its_equation():
    mixer, x = judged(Mamba2(DIM, heads=4, groups=2, state_size=3))
    gate, inputs, step = (x @ mixer.project_in.weight.T).split([16, 16 + 12, 4], dim=-1)
    inputs = F.silu(shortconv_reference(inputs, mixer.convolution.weight, mixer.convolution.bias)[0])
    value, key, query = inputs.split([16, 6, 6], dim=-1)
    key, query = (by_head(of, 2)[:, :, [0, 0, 1, 1]] for of in (key, query))
    step, value = F.softplus(step + mixer.step_bias), by_head(value, 4)
    y, _ = decay_reference(query, key, step[..., None] * value, -mixer.log_rate.exp() * step)
    y = (y + mixer.skip[:, None] * value).flatten(2) * F.silu(gate)
    written = (rms(by_head(y, 2)).flatten(2) * mixer.norm.weight) @ mixer.project_out.weight.T
    assert_close(mixer(x), written, **EXACT)


@pytest.mark.parametrize("rank", [1, 2])
def test_mamba3_is_its_equation(rank):
    mixer, x = judged(Mamba3(DIM, heads=2, rank=rank, state_size=4, expand=1))
    sizes = [8, 8, 4 * rank, 4 * rank, 2, 2, 2, 1]
    z, u, key, query, step, rate, blend, turn = (x @ mixer.project_in.weight.T).split(sizes, dim=-1)
    key = (rms(by_head(key, rank)) * mixer.key_norm.weight)[:, :, None] + mixer.key_bias
    query = (rms(by_head(query, rank)) * mixer.query_norm.weight)[:, :, None] + mixer.query_bias
    step = F.softplus(step + mixer.step_bias)
    value, gate = (by_head(of, 2)[:, :, :, None] for of in (u, z))
    if rank > 1:
        value, gate = value * mixer.expand_value, gate * mixer.expand_gate
    y, _ = mamba3_reference(
        query,
        key,
        value,
        log_decay=-F.softplus(rate) * step,
        step=step,
        blend=blend.sigmoid(),
        turn=turn[:, :, None].expand(-1, -1, 2, -1),
    )
    y = (y + mixer.skip[:, None, None] * value) * F.silu(gate) * (1 if rank == 1 else mixer.combine)
    assert_close(mixer(x), y.sum(3).flatten(2) @ mixer.project_out.weight.T, **EXACT)


def test_mlstm_is_its_equation():
    mixer, x = judged(MLSTM(DIM, heads=2))
    inside = mixer.inside
    u, z = (x @ inside.project_in.weight.T).chunk(2, dim=-1)
    c = F.silu(shortconv_reference(u, inside.convolution.weight, inside.convolution.bias)[0])
    projections = inside.project_query, inside.project_key, inside.project_value
    heads = [of @ torch.block_diag(*projection.weight).T for of, projection in zip((c, c, u), projections, strict=True)]
    enters, forget = (torch.cat(heads, dim=-1) @ mixer.project_gates.weight.T).chunk(2, dim=-1)
    query, key, value = (by_head(of, 2) for of in heads)
    gates = enters + mixer.input_bias, forget + mixer.forget_bias
    y, _ = mlstm_reference(query * query.shape[-1] ** -0.5, key, value, *gates)
    normed = F.layer_norm(y, y.shape[-1:]).flatten(2) * mixer.norm.weight
    written = ((normed + inside.skip * c) * F.silu(z)) @ mixer.project_out.weight.T
    assert_close(mixer(x), written, **EXACT)


def test_the_mlstm_of_the_7b_model_is_its_equation():
    mixer, x = judged(MLSTM(DIM, heads=2, block="post-up"))
    query, key, value, gate = (x @ mixer.inside.project_in.weight.T).split([4, 4, 8, 8], dim=-1)
    gates = x @ mixer.project_gates.weight.T + torch.cat([mixer.input_bias, mixer.forget_bias])
    enters, forget = (15 * (gates / 15).tanh()).chunk(2, dim=-1)
    y, _ = mlstm_reference(by_head(query, 2) * 2**-0.5, by_head(key, 2), by_head(value, 2), enters, forget)
    normed = F.layer_norm(y, y.shape[-1:]).flatten(2) * mixer.norm.weight
    assert_close(mixer(x), (normed * gate.sigmoid()) @ mixer.project_out.weight.T, **EXACT)


@pytest.mark.parametrize("abc", [False, True])
def test_gsa_is_its_equation(abc):
    mixer, x = judged(GSA(DIM, heads=2, slots=3, abc=abc))
    *parts, logits = (x @ mixer.project_in.weight.T).split([8, 8, 8, 6], dim=-1)
    query, key, value = (by_head(F.silu(of), 2) for of in parts)
    logits = by_head(logits, 2)
    if abc:
        total = logits.exp().cumsum(1).log()
        write = (logits - total).exp()
        log_decay = torch.cat([torch.zeros_like(total[:, :1]), total[:, :-1] - total[:, 1:]], dim=1)
    else:
        log_decay = F.logsigmoid(logits) / 8
        write = 1 - log_decay.exp()
    y, _ = gsa_reference(query * 0.5, key, value, write, log_decay)
    written = (rms(F.silu(y.flatten(2))) * mixer.norm.weight) @ mixer.project_out.weight.T
    assert_close(mixer(x), written, **EXACT)


def test_slots_are_as_many_as_channels_by_default():
    assert GSA(DIM, heads=2).slots == 4


def test_a_floor_bounds_the_decay_of_rwkv6_and_changes_nothing_above():
    mixer, x = judged(RWKV6(DIM, heads=2))
    bounded = RWKV6(DIM, heads=2, floor=-5.0).double()
    bounded.load_state_dict(mixer.state_dict())
    assert_close(bounded(x), mixer(x), **EXACT)
    with torch.no_grad():
        for of in (mixer, bounded):
            of.decay_bias.fill_(10)
    assert_close(bounded._log_decay(x).min(), torch.tensor(-5.0, dtype=torch.float64))
    assert (bounded(x) - mixer(x)).abs().max() > 1e-4


def test_the_gate_of_the_rwkv_channel_mixer():
    mixer, x = judged(RWKVChannel(DIM, hidden=6, gated=True))
    before = F.pad(x, (0, 0, 1, -1))
    hidden = (x + (before - x) * mixer.mix) @ mixer.project_in.weight.T
    gate = (x + (before - x) * mixer.gate_mix) @ mixer.project_gate.weight.T
    assert_close(mixer(x), gate.sigmoid() * (hidden.clamp_min(0) ** 2 @ mixer.project_out.weight.T), **EXACT)


@pytest.mark.parametrize("make", [Mamba2, Mamba3])
def test_step_sizes_start_between_a_thousandth_and_a_tenth(make):
    mixer = make(64, heads=64)
    steps = F.softplus(mixer.step_bias)
    assert 1e-3 * 0.99 < steps.min() < 4e-3
    assert 0.03 < steps.max() < 0.101
    assert torch.equal(mixer.skip, torch.ones(64))


def test_rates_of_mamba2_start_between_one_and_sixteen():
    rates = Mamba2(64, heads=64).log_rate.exp()
    assert 1 <= rates.min() < 2.5
    assert 14 < rates.max() <= 16


def test_forget_gates_of_the_mlstm_start_near_one_and_read_nothing():
    for block in ("pre-up", "post-up"):
        mixer = MLSTM(DIM, heads=4, block=block)
        assert mixer.forget_bias.tolist() == [3, 4, 5, 6]
        assert not mixer.project_gates.weight.any()
    assert (mixer.input_bias == -10).all()


def test_rwkv6_starts_with_decays_by_channel_and_a_token_shift_by_layer():
    first, last = (RWKV6(64, heads=4, layer_index=index, layers=4) for index in (0, 3))
    for mixer in (first, last):
        assert_close(mixer.decay_bias[[0, -1]], torch.tensor([-6.0, -1.0]))
    assert (last.decay_bias <= first.decay_bias).all()
    assert_close(first.base_mix, 1 - torch.arange(64) / 64)
    assert_close(last.base_mix, 1 - (torch.arange(64) / 64) ** 0.25)
    assert_close(first.bonus.flatten()[:3], torch.tensor([0.0, 0.1, -0.1]))
    assert first.rank == 4
    assert_close(last.bonus[0, 0], torch.tensor(1.0))


def test_the_rwkv_channel_mixer_starts_without_a_write():
    mixer = RWKVChannel(DIM, layer_index=1, layers=2)
    assert not mixer(torch.randn(1, T, DIM)).any()
    assert_close(mixer.mix, 1 - (torch.arange(DIM) / DIM) ** 0.5**4)


@pytest.mark.parametrize("name", MIXERS)
def test_panels_are_pictures_of_a_few_numbers(name):
    mixer = MIXERS[name](DIM, heads=2) if name != "rwkv-channel" else MIXERS[name](DIM)
    for panel in mixer.panels(torch.randn(2, T, DIM)):
        assert torch.as_tensor(panel.values).isfinite().all()
        assert len(panel.axes) == torch.as_tensor(panel.values).ndim


@pytest.mark.parametrize(
    ("make", "options", "text"),
    [
        (Mamba2, {"heads": 3}, "heads must divide the width of the state space: with width=16, not 3"),
        (Mamba2, {"heads": 4, "groups": 3}, "groups must divide heads: with heads=4, not 3"),
        (Mamba2, {"state_size": 0}, "state_size must be 1 or more, not 0"),
        (Mamba3, {"heads": 3}, "heads must divide the width of the state space: with width=16, not 3"),
        (Mamba3, {"rank": 0}, "rank must be from 1 to state_size=64, not 0"),
        (Mamba3, {"rank": 9, "state_size": 8}, "rank must be from 1 to state_size=8, not 9"),
        (Mamba3, {"rotated": 1.5}, "rotated must be from 0 to 1, not 1.5"),
        (MLSTM, {"heads": 3}, "heads must divide the width of queries: with width=16, not 3"),
        (MLSTM, {"block": "up"}, 'block must be "pre-up" or "post-up", not \'up\''),
        (MLSTM, {"expand": 0}, "expand must be 1 or more, not 0"),
        (GSA, {"slots": 0}, "slots must be 1 or more, not 0"),
        (RWKV6, {"rank": 0}, "rank must be 1 or more, not 0"),
        (RWKV6, {"floor": 0.0}, "floor must be below 0, not 0.0: it is the least log decay; None sets no limit"),
        (RWKV6, {"layer_index": 2, "layers": 2}, "layer_index must be from 0 to layers - 1: with layers=2, not 2"),
        (RWKVChannel, {"hidden": 0}, "hidden must be 1 or more, not 0"),
        (RWKVChannel, {"layer_index": -1}, "layer_index must be from 0 to layers - 1: with layers=1, not -1"),
    ],
)
def test_what_cannot_be_is_refused(make, options, text):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole text is compared
        make(DIM, **options)
    assert str(error.value) == text


def test_a_width_that_is_no_multiple_of_a_block_is_refused():
    with pytest.raises(ValueError, match=r"^expand \* dim must be a multiple of 4, not 6$"):
        MLSTM(3, heads=1)
