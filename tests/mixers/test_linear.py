"""Linear attention and its relatives against their equations, token by token; their laws are tested elsewhere."""

import math

import pytest
import torch
from torch.nn.functional import logsigmoid, silu
from torch.testing import assert_close

from mixers.linear.based import Based
from mixers.linear.gla import GLA
from mixers.linear.hgrn2 import HGRN2
from mixers.linear.lightning import Lightning
from mixers.linear.linear_attention import LinearAttention
from mixers.linear.retention import Retention
from mixers.ops.features import hedgehog, taylor
from mixers.ops.rotary import rotate

EXACT = {"rtol": 1e-9, "atol": 1e-9}
DIM, TIME = 16, 9


def built(mixer, dim=DIM, **options):
    """A mixer in float64, with noise on its parameters, and reads."""
    torch.manual_seed(0)
    mix = mixer(dim, heads=2, **options).double()
    for parameter in mix.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return mix.requires_grad_(False), torch.randn(2, TIME, dim, dtype=torch.float64)


def by_head(x):
    return x.unflatten(-1, (2, -1))


def heads_of(mix, x):
    keys, values = 2 * mix.key_size, 2 * mix.value_size
    return map(by_head, mix.project_in(x).split([keys, keys, values], dim=-1))


def remembered(query, key, value, decay):
    """The memory one token at a time, as in the equation; the decay is a number a head or a channel of the keys."""
    state, rows = 0, []
    for t in range(TIME):
        kept = decay[:, t] if decay.ndim > 2 else decay
        state = kept[..., None] * state + torch.einsum("bhk,bhv->bhkv", key[:, t], value[:, t])
        rows.append(torch.einsum("bhkv,bhk->bhv", state, query[:, t]))
    return torch.stack(rows, dim=1)


def rms(x):
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def written(out, normed, gate):
    return out.project((normed * out.gain * gate).flatten(2))


def weighed(query, key, value, rope):
    """The values weighed by the products of rotated features, divided by the sum of the products of unrotated ones."""
    rotated = (rotate(of.transpose(1, 2)).transpose(1, 2) for of in (query, key)) if rope else (query, key)
    weights, plain = (torch.einsum("bthk,bshk->bhts", q, k).tril() for q, k in (rotated, (query, key)))
    return torch.einsum("bhts,bshv->bthv", weights / (plain.sum(-1, keepdim=True) + 1e-6), value)


@pytest.mark.parametrize("rope", [True, False])
def test_linear_attention_is_an_average_weighed_by_features(rope):
    mix, x = built(LinearAttention, rope=rope)
    query, key, value = heads_of(mix, x)
    expected = weighed(*(torch.where(of > 0, of + 1, of.exp()) for of in (query, key)), value, rope)
    assert_close(mix(x), mix.project_out(expected.flatten(2)), **EXACT)


def test_linear_attention_without_a_quotient_has_a_norm_a_head():
    mix, x = built(LinearAttention, feature="identity", normalize=False, key_size=3)
    query, key, value = heads_of(mix, x)
    read = remembered(query, key, value, torch.ones(2, 1))
    assert_close(mix(x), written(mix.heads_out, rms(read), 1), **EXACT)


@pytest.mark.parametrize(
    ("feature", "features"), [("hedgehog", 16), ("taylor", 1 + 8 + 36), ("rebased", 36), ("relu", 8)]
)
def test_features_decide_the_size_of_the_memory(feature, features):
    mix, x = built(LinearAttention, feature=feature)
    assert mix.step(x)[1].shape == (2, 2, features, 8 + 1)


def test_features_of_an_odd_number_keep_the_last_one_unturned():
    mix, x = built(LinearAttention, key_size=3)
    first, state = mix.step(x[:, :4])
    assert_close(torch.cat([first, mix.step(x[:, 4:], state)[0]], dim=1), mix(x), **EXACT)


def test_kernels_of_queries_and_keys_are_not_turned():
    assert not built(LinearAttention, feature="taylor")[0].rope
    assert built(LinearAttention, feature="taylor", rope=True)[0].rope
    assert built(LinearAttention)[0].rope
    assert not built(LinearAttention, normalize=False)[0].rope
    with pytest.raises(ValueError, match="rope=true needs normalize=true"):
        LinearAttention(DIM, normalize=False, rope=True)


def test_keys_of_second_order_features_are_narrow():
    assert LinearAttention(128, heads=2, feature="taylor").key_size == 16
    assert LinearAttention(128, heads=2).key_size == 64


def test_hedgehog_starts_as_the_identity():
    mix = LinearAttention(DIM, heads=2, feature="hedgehog")
    x = torch.randn(1, 2, 2, 8)
    assert_close(mix.key_features(x), hedgehog(x, torch.eye(8), torch.zeros(8)))


def test_retention_is_its_equation():
    mix, x = built(Retention)
    query, key, value = heads_of(mix, x)
    query, key = (rotate(of.transpose(1, 2)).transpose(1, 2) for of in (query, key))
    gamma = torch.tensor([[1 - 2**-5], [1 - 2**-6]], dtype=torch.float64)
    read = remembered(query / math.sqrt(4), key, value, gamma)
    assert_close(mix(x), written(mix.heads_out, rms(read), by_head(silu(mix.heads_out.gate(x)))), **EXACT)


def test_the_memory_of_retention_holds_no_position():
    mix, x = built(Retention)
    reads = torch.cat([x, x, x], dim=1)
    state, rows = None, []
    for piece in reads.split([1, 5, 20, 1], dim=1):
        out, state = mix.step(piece, state)
        rows.append(out)
    assert_close(torch.cat(rows, dim=1), mix(reads), **EXACT)
    assert state.shape == (2, 2, 4, 8)


def test_lightning_is_its_equation():
    mix, x = built(Lightning, layer_index=1, layers=4)
    query, key, value = silu(mix.project_in(x)).unflatten(-1, (2, 24)).split([8, 8, 8], dim=-1)
    slope = torch.tensor([[2**-4.0], [2**-8.0]], dtype=torch.float64) * (1 - 1 / (3 + 1e-5) + 1e-5)
    read = remembered(query, key, value, (-slope).exp())
    expected = rms(read.flatten(2)) * mix.heads_out.gain * mix.heads_out.gate(x).sigmoid()
    assert_close(mix(x), mix.heads_out.project(expected), **EXACT)


@pytest.mark.parametrize("gate", ["channel", "head"])
def test_gla_is_its_equation(gate):
    mix, x = built(GLA, gate=gate, normalizer=0.5, floor=-0.9, rank=3)
    query, key, value = heads_of(mix, x)
    log_decay = (logsigmoid(mix.project_gate(x)) / 0.5).clamp_min(-0.9)
    assert (log_decay == -0.9).any()
    assert (log_decay > -0.9).any()
    read = remembered(query / math.sqrt(4), key, value, by_head(log_decay.exp()))
    assert_close(mix(x), written(mix.heads_out, rms(read), by_head(silu(mix.heads_out.gate(x)))), **EXACT)


def hgrn2_of(mix, x, beta):
    query, gate, value = mix.project_in(x).chunk(3, dim=-1)
    forget = beta + (1 - beta) * gate.sigmoid()
    read = remembered(*map(by_head, (silu(query), 1 - forget, value, forget)))
    return mix.heads_out.project(rms(read.flatten(2)) * mix.heads_out.gain)


def test_hgrn2_is_its_equation():
    mix, x = built(HGRN2, layer_index=3, layers=4)
    assert_close(mix(x), hgrn2_of(mix, x, mix.bound.sigmoid()), **EXACT)
    mix, x = built(HGRN2, layer_index=3, layers=4, bound="schedule")
    assert_close(mix(x), hgrn2_of(mix, x, 0.75), **EXACT)
    mix, x = built(HGRN2, layers=4)
    assert_close(mix(x), hgrn2_of(mix, x, 0), **EXACT)


def test_the_bounds_of_hgrn2_start_at_their_place_among_the_layers():
    for layer in range(1, 4):
        bound = HGRN2(DIM, layer_index=layer, layers=4).bound.sigmoid()
        assert_close(bound, torch.full((DIM,), layer / 4))
        assert HGRN2(DIM, layer_index=layer, layers=4, bound="schedule").floor == pytest.approx(math.log(layer / 4))
    assert HGRN2(DIM, layers=4).bound is None
    assert HGRN2(DIM, layers=4, bound="schedule").floor is None


def test_gates_of_hgrn2_that_are_shut_or_open_lose_no_digits():
    mix = HGRN2(DIM, layer_index=1, layers=2, bound="schedule")
    log_decay, key = mix._gates(torch.tensor([-200.0, 200.0, 20.0]))
    assert_close(log_decay[0], torch.tensor(0.5).log())
    assert_close(key[:2], torch.tensor([0.5, 0.0]))
    assert_close(key[2], 0.5 * torch.tensor(-20.0).sigmoid(), rtol=1e-5, atol=0)


def test_based_is_an_average_by_a_series_beside_one_by_a_softmax():
    mix, x = built(Based, window=3, key_size=5)
    near, far = mix.project_in(x).split([3 * 8, 2 * 5 + 8], dim=-1)
    query, key, value = near.split(8, dim=-1)
    scores = rotate(query[:, None])[:, 0] @ rotate(key[:, None])[:, 0].mT / math.sqrt(8)
    seen = torch.ones(TIME, TIME).tril() - torch.ones(TIME, TIME).tril(-3)
    attended = scores.masked_fill(seen == 0, -torch.inf).softmax(-1) @ value
    query, key, value = far.split([5, 5, 8], dim=-1)
    averaged = weighed(taylor(query)[:, :, None], taylor(key)[:, :, None], value[:, :, None], rope=False)
    assert_close(mix(x), mix.project_out(torch.cat([attended, averaged[:, :, 0]], dim=-1)), **EXACT)


def test_based_keeps_no_more_than_its_window():
    mix, x = built(Based, window=3)
    _, state = mix.step(x)
    assert state["key"].shape == state["value"].shape == (2, 1, 2, 8)


@pytest.mark.parametrize("mixer", [LinearAttention, Retention, GLA, HGRN2, Based])
def test_a_layer_has_about_as_many_parameters_as_attention(mixer):
    count = sum(parameter.numel() for parameter in mixer(128).parameters())
    assert 3 * 128**2 < count < 4.5 * 128**2


def test_panels_show_what_reaches_a_token_and_what_is_kept():
    mix, x = built(GLA)
    reach, kept = mix.panels(x)
    assert reach.values.shape == (2, TIME, TIME)
    assert not reach.values.triu(1).any()
    assert kept.values.shape == (2, TIME)
    (average,) = LinearAttention(DIM, heads=2, rope=False).panels(x.float())
    assert_close(average.values.sum(-1), torch.ones(2, TIME), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearAttention(16, heads=3), "heads=3 does not divide dim=16"),
        (lambda: LinearAttention(16, feature="identity"), "choose normalize=false, or another feature"),
        (lambda: LinearAttention(16, key_size=0), "key_size must be 1 or more, not 0"),
        (lambda: Retention(16, key_size=3), "with it key_size must be even, not 3"),
        (lambda: Retention(16, value_size=1), "value_size must be 4 or more, not 1"),
        (lambda: Lightning(16, layer_index=2, layers=2), "layer_index=2 is none of layers=2"),
        (lambda: HGRN2(16, layer_index=-1), "layer_index=-1 is none of layers=1"),
        (lambda: GLA(16, floor=0.0), "floor must be below 0, not 0.0"),
        (lambda: GLA(16, normalizer=0.0), "normalizer must be more than 0, not 0.0"),
        (lambda: GLA(16, rank=0), "rank must be 1 or more, not 0"),
        (lambda: Based(16, heads=1), "leaves no head of one kind"),
        (lambda: Based(16, window=0), "window=0 would hide a token from itself"),
    ],
)
def test_options_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()
