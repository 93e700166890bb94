"""The mixers that erase: their equations token by token, what they start at, what they refuse, and what they show."""

import pytest
import torch
from torch.nn.functional import conv1d, group_norm, normalize, pad, silu, softplus
from torch.testing import assert_close

from mixers.delta import MIXERS
from mixers.delta.comba import Comba
from mixers.delta.deltanet import DeltaNet
from mixers.delta.deltaproduct import DeltaProduct
from mixers.delta.gated_deltanet import GatedDeltaNet
from mixers.delta.gdn2 import GDN2
from mixers.delta.kda import KDA
from mixers.delta.rwkv7 import FIRST_VALUE, RWKV7
from mixers.ops.token_shift import token_shift
from mixers.plugin import zoo_mixers
from zoo import Mixed

EXACT = {"rtol": 1e-9, "atol": 1e-9}
DIM, HEADS, T = 16, 2, 9


def built(cls, dim=DIM, **options):
    torch.manual_seed(0)
    mixer = cls(dim, heads=HEADS, **options).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return mixer


def reads(t=T, dim=DIM):
    return torch.randn(2, t, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def by_head(x, heads=HEADS):
    return x.unflatten(-1, (heads, -1))


def convolved(heads_in, x, key_heads=HEADS):
    """Queries, keys and values by torch's convolution; keys have length 1."""
    weight = heads_in.convolution.weight
    inputs = pad(heads_in.project(x).mT, (weight.shape[1] - 1, 0))
    mixed = silu(conv1d(inputs, weight.flip(1)[:, None], groups=len(weight)).mT)
    query, key, value = mixed.split(heads_in.widths, dim=-1)
    repeats = HEADS // key_heads
    query, key = (by_head(of, len(of[0, 0]) // heads_in.key_size) for of in (query, key))
    query, key = (
        (of / (of.square().sum(-1, keepdim=True) + 1e-6).sqrt()).repeat_interleave(repeats, 2) for of in (query, key)
    )
    return query * heads_in.key_size**-0.5, key, value.unflatten(-1, (-1, heads_in.value_size))


def softplus_gate(gate, x):
    asked = gate.project(x).view(*x.shape[:2], *gate.bias.shape) + gate.bias
    return -gate.log_rate.exp().view(HEADS, *[1] * (gate.bias.ndim - 1)) * softplus(asked)


def written(heads_out, y, x, activation=silu):
    normed = y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt() * heads_out.gain
    gate = 1 if heads_out.gate is None else activation(heads_out.gate(x))
    return heads_out.project(normed.flatten(2) * gate)


def loop(query, key, value, follow):
    """Read after `follow(S, t)`, the memory of a token from the one before."""
    state, rows = query.new_zeros(2, HEADS, key.shape[-1], value.shape[-1]), []
    for t in range(query.shape[1]):
        state = follow(state, t)
        rows.append(torch.einsum("bhk,bhkv->bhv", query[:, t], state))
    return torch.stack(rows, dim=1)


def corrected(state, key, value, beta, along=None):
    """One delta rule: the state with value in place of what `along` reads, by default the key."""
    error = value - torch.einsum("bhk,bhkv->bhv", key if along is None else along, state)
    return state + torch.einsum("bhk,bhv->bhkv", beta * key, error)


@pytest.mark.parametrize("options", [{}, {"negative": True, "gated": True, "key_size": 3, "value_size": 5}])
def test_deltanet(options):
    mixer, x = built(DeltaNet, **options), reads()
    query, key, value = convolved(mixer.heads_in, x)
    beta = mixer.erased.project(x).sigmoid()[..., None] * (2 if options else 1)
    y = loop(query, key, value, lambda s, t: corrected(s, key[:, t], value[:, t], beta[:, t]))
    assert_close(mixer(x), written(mixer.heads_out, y, x), **EXACT)


@pytest.mark.parametrize("options", [{}, {"negative": True, "key_heads": 1}])
def test_gated_deltanet(options):
    mixer, x = built(GatedDeltaNet, **options), reads()
    query, key, value = convolved(mixer.heads_in, x, options.get("key_heads", HEADS))
    beta = mixer.erased.project(x).sigmoid()[..., None] * (2 if options else 1)
    decay = softplus_gate(mixer.decay, x).exp()[..., None, None]
    y = loop(query, key, value, lambda s, t: corrected(decay[:, t] * s, key[:, t], value[:, t], beta[:, t]))
    assert_close(mixer(x), written(mixer.heads_out, y, x), **EXACT)


@pytest.mark.parametrize(("steps", "negative"), [(1, False), (3, True)])
def test_deltaproduct(steps, negative):
    mixer, x = built(DeltaProduct, steps=steps, negative=negative), reads()
    query, key, value = convolved(mixer.heads_in, x)
    key, value = (of.unflatten(2, (steps, HEADS)) for of in (key, value))
    beta = mixer.erased.project(x).sigmoid().view(2, T, steps, HEADS, 1) * (2 if negative else 1)
    decay = softplus_gate(mixer.decay, x).exp()[..., None, None]

    def follow(state, t):
        state = decay[:, t] * state
        for step in range(steps):
            state = corrected(state, key[:, t, step], value[:, t, step], beta[:, t, step])
        return state

    assert_close(mixer(x), written(mixer.heads_out, loop(query, key, value, follow), x), **EXACT)


@pytest.mark.parametrize("floor", [-5.0, None])
def test_kda(floor):
    mixer, x = built(KDA, floor=floor, rank=3), reads()
    query, key, value = convolved(mixer.heads_in, x)
    beta = mixer.erased.project(x).sigmoid()[..., None]
    asked = by_head(mixer.decay.project(x)) + mixer.decay.bias
    bounded = -5 * (mixer.decay.log_rate.exp()[:, None] * asked).sigmoid()
    decay = (softplus_gate(mixer.decay, x) if floor is None else bounded).exp()[..., None]
    y = loop(query, key, value, lambda s, t: corrected(decay[:, t] * s, key[:, t], value[:, t], beta[:, t]))
    assert_close(mixer(x), written(mixer.heads_out, y, x, torch.sigmoid), **EXACT)


def test_gdn2():
    mixer, x = built(GDN2, negative=True, floor=None), reads()
    query, key, value = convolved(mixer.heads_in, x)
    erasing = 2 * by_head(mixer.erased.project(x)).sigmoid() * key
    value = by_head(mixer.written.project(x)).sigmoid() * value
    decay = softplus_gate(mixer.decay, x).exp()[..., None]
    y = loop(query, key, value, lambda s, t: corrected(decay[:, t] * s, key[:, t], value[:, t], 1, erasing[:, t]))
    assert_close(mixer(x), written(mixer.heads_out, y, x, torch.sigmoid), **EXACT)


def test_comba_feeds_back_what_the_state_held_before_its_decay():
    mixer, x = built(Comba), reads()
    query, key, value = convolved(mixer.heads_in, x)
    beta = mixer.erased.project(x).sigmoid()[..., None]
    decay = softplus_gate(mixer.decay, x).exp()[..., None, None]
    feedback, correction = mixer.feedback.sigmoid()[:, None], mixer.correction[:, None]

    def follow(state, t):
        subtracted = corrected(state, key[:, t], value[:, t], beta[:, t], feedback * key[:, t]) - state
        return decay[:, t] * state + subtracted

    y = loop(query - correction * key * mixer.heads_in.key_size**-0.5, key, value, follow)
    assert_close(mixer(x), written(mixer.heads_out, y, x), **EXACT)


@pytest.mark.parametrize("layer", [0, 1])
def test_rwkv7(layer):
    mixer, x = built(RWKV7, layer_index=layer, layers=2), reads()
    first = torch.randn_like(x)
    mixed = [x + mixture * (pad(x, (0, 0, 1, -1)) - x) for mixture in mixer.mixtures]
    query, key, value = mixer.receptance(mixed[0]), mixer.key(mixed[2]), mixer.value(mixed[3])

    def low(function, read, activation):
        return activation(read @ function.down.weight.t()) @ function.up.weight.t()

    decay = (low(mixer.decay, mixed[1], torch.tanh) + mixer.decay.up.bias).sigmoid().mul(-(torch.e**-0.5)).exp()
    rate = (low(mixer.rate, mixed[4], lambda of: of) + mixer.rate.up.bias).sigmoid()
    if layer:
        gate = low(mixer.of_first, mixed[3], lambda of: of) + mixer.of_first.up.bias
        value = value + (first - value) * gate.sigmoid()
    erasing = normalize(by_head(key * mixer.erase_scale), dim=-1)
    key = by_head(key * (1 + (rate - 1) * mixer.key_scale))
    query, value, decay, rate = map(by_head, (query, value, decay, rate))

    def follow(state, t):
        erased = torch.einsum("bhk,bhkv->bhv", erasing[:, t], state)
        taken = torch.einsum("bhk,bhv->bhkv", erasing[:, t] * rate[:, t], erased)
        return decay[:, t, ..., None] * state - taken + torch.einsum("bhk,bhv->bhkv", key[:, t], value[:, t])

    y = loop(query, key, value, follow)
    y = group_norm(y.flatten(0, 1).flatten(1), HEADS, mixer.norm_gain, mixer.norm_bias, 64e-5).view_as(x)
    y = y + ((query * key * mixer.bonus).sum(-1, keepdim=True) * value).flatten(2)
    expected = mixer.project_out(y * low(mixer.gate, mixed[5], torch.sigmoid))
    assert_close(Mixed.of(mixer(x, shared={FIRST_VALUE: first})).out, expected, **EXACT)


def test_the_first_rwkv7_hands_its_values_up_and_later_ones_read_them():
    x = reads()
    first, later = (built(RWKV7, layer_index=layer, layers=3) for layer in (0, 2))
    handed = first(x, shared={}).shared
    assert_close(handed[FIRST_VALUE], first.value(x + first.mixtures[3] * (token_shift(x)[0] - x)))
    assert isinstance(later(x, shared=handed), torch.Tensor)
    alone = later(x)
    zeros = later(x, shared={FIRST_VALUE: torch.zeros_like(x)})
    assert_close(alone.out, zeros)
    assert FIRST_VALUE in alone.shared


def test_token_shift_starts_anew_in_each_document_and_goes_on_from_a_state():
    x, last = reads(5, 3), torch.ones(2, 3, dtype=torch.float64)
    documents = torch.tensor([[0, 0, 1, 1, 0], [4, 4, 4, 4, 4]])
    before, state = token_shift(x, last, documents=documents)
    expected = torch.cat([last[:, None], x[:, :-1]], dim=1)
    expected[0, [2, 4]] = 0
    assert_close(before, expected)
    assert_close(state, x[:, -1])


@pytest.mark.parametrize("cls", MIXERS.values(), ids=MIXERS)
def test_is_registered_and_shows_what_is_inside(cls):
    assert cls in zoo_mixers().values()
    panels = built(cls).panels(reads(70))
    assert len(panels) >= 2
    assert all(panel.values.isfinite().all() for panel in panels)


@pytest.mark.parametrize(("cls", "steps"), [(DeltaNet, 1), (DeltaProduct, 2)])
def test_influences_are_the_weights_of_values(cls, steps):
    mixer, x = built(cls), reads()
    query, key, value, _ = mixer._heads(x[:1], None, None)
    # A value of which each step writes the same, so that a token has one.
    own = value if steps == 1 else value[:, :, 0]
    read, _ = mixer._remember(x[:1], query, key, own if steps == 1 else value[:, :, :1].expand_as(value), None, None)
    weights = mixer.panels(x)[0].values
    assert_close((weights @ own[0].transpose(0, 1)).transpose(0, 1), read[0], **EXACT)


def test_starts_at_the_published_values():
    torch.manual_seed(0)
    gate = GatedDeltaNet(64).decay
    assert softplus(gate.bias).min() >= 0.001
    assert softplus(gate.bias).max() <= 0.1
    assert KDA(64).decay.log_rate.count_nonzero() == 0
    assert KDA(64, floor=None).decay.log_rate.min() >= 0
    assert_close(Comba(64, correction=1.0).correction.detach(), torch.ones(4))
    rwkv = RWKV7(64, layer_index=3, layers=4)
    assert rwkv.project_out.weight.count_nonzero() == 0
    assert_close(rwkv.norm_gain.detach(), torch.ones(64))
    assert rwkv.of_first is not None
    assert RWKV7(64).of_first is None
    slow, fast = rwkv.decay.up.bias.unflatten(0, (4, 16))[0, 0], rwkv.decay.up.bias[-1]
    assert_close((slow.item(), fast.item()), (-8.0, 3.0))


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (DeltaNet, {"heads": 3}, "heads=3 does not divide dim=16; choose heads among the divisors of dim"),
        (GatedDeltaNet, {"key_size": 1}, "key_size must be 2 or more, not 1"),
        (GatedDeltaNet, {"key_heads": 3}, "key_heads=3 does not divide heads=4; choose key_heads among the divisors"),
        (DeltaProduct, {"steps": 0}, "steps must be 1 or more, not 0"),
        (KDA, {"floor": 0.0}, "floor must be below 0, not 0.0: it is the least log decay; None sets no limit"),
        (GDN2, {"rank": 0}, "rank must be 1 or more, not 0"),
        (Comba, {"kernel_size": 9}, "kernel_size must be from 1 to 8, not 9"),
        (RWKV7, {"gate_rank": 0}, "gate_rank must be 1 or more, not 0"),
        (RWKV7, {"layer_index": 2, "layers": 2}, "layer_index must be from 0 to layers - 1, 1, not 2"),
    ],
)
def test_refuses_what_cannot_be(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls(16, **options)
