"""Gated recurrences and state spaces against their equations, token by token; their laws are tested elsewhere."""

import pytest
import torch
from torch.nn.functional import gelu, glu, silu, softplus
from torch.testing import assert_close

from mixers.ops.diagonal_ssm import diagonal_ssm, diagonal_ssm_reference, ssm_kernel
from mixers.recurrent.mamba1 import Mamba1
from mixers.recurrent.min_gru import MinGRU
from mixers.recurrent.min_lstm import MinLSTM
from mixers.recurrent.rg_lru import RGLRU
from mixers.recurrent.s4d import S4D
from mixers.recurrent.s5 import S5, _hippo
from mixers.recurrent.slstm import SLSTM

EXACT = {"rtol": 1e-9, "atol": 1e-9}
DIM, TIME = 8, 9
MIXERS = [RGLRU, Mamba1, MinGRU, MinLSTM, S4D, S5, SLSTM]


def built(mixer, **options):
    """A mixer in float64, with noise on its parameters, and reads."""
    torch.manual_seed(0)
    mix = mixer(DIM, **options).double()
    for parameter in mix.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return mix.requires_grad_(False), torch.randn(2, TIME, DIM, dtype=torch.float64)


def convolved(convolution, x):
    rows = []
    for t in range(x.shape[1]):
        taps = (convolution.weight[:, lag] * x[:, t - lag] for lag in range(min(t + 1, convolution.weight.shape[1])))
        rows.append(sum(taps) + convolution.bias)
    return torch.stack(rows, dim=1)


@pytest.mark.parametrize("sign", [True, False])
def test_min_gru_and_min_lstm_are_their_equations(sign):
    for mixer in (MinGRU, MinLSTM):
        mix, x = built(mixer, expansion=2, positive=sign)
        hidden, *gates = mix.project_in(x).chunk(3 if mixer is MinLSTM else 2, dim=-1)
        new = torch.where(hidden >= 0, hidden + 0.5, hidden.sigmoid()) if sign else hidden
        z = gates[0].sigmoid()
        if mixer is MinLSTM:
            z = gates[1].sigmoid() / (gates[0].sigmoid() + gates[1].sigmoid())
        h, rows = 0, []
        for t in range(TIME):
            h = (1 - z[:, t]) * h + z[:, t] * new[:, t]
            rows.append(mix.project_out(h))
        assert_close(mix(x), torch.stack(rows, dim=1), **EXACT)


def test_rg_lru_is_its_equation():
    mix, x = built(RGLRU, heads=2, width=12)
    u = convolved(mix.convolution, mix.project_in(x))
    weights, biases = (mix.recurrence_weight, mix.input_weight), (mix.recurrence_bias, mix.input_bias)
    r, i = (
        (u @ torch.block_diag(*weight) + bias.flatten()).sigmoid() for weight, bias in zip(weights, biases, strict=True)
    )
    a = (-8 * r * softplus(mix.rate)).exp()
    h, rows = i[:, 0] * u[:, 0], []
    for t in range(TIME):
        if t:
            h = a[:, t] * h + (1 - a[:, t] ** 2).sqrt() * i[:, t] * u[:, t]
        rows.append(mix.project_out(gelu(mix.project_gate(x[:, t]), approximate="tanh") * h))
    assert_close(mix(x), torch.stack(rows, dim=1), **EXACT)


def test_a_row_of_rg_lru_that_has_not_begun_stands_beside_one_that_has():
    mix, x = built(RGLRU)
    _, state = mix.step(x)
    fresh = {name: torch.zeros_like(value) for name, value in state.items()}
    joined = {name: torch.cat([state[name][:1], fresh[name][1:]]) for name in state}
    written, _ = mix.step(x, joined)
    assert_close(written[:1], mix.step(x[:1], {name: value[:1] for name, value in state.items()})[0], **EXACT)
    assert_close(written[1:], mix(x[1:]), **EXACT)


def test_mamba_is_its_equation():
    mix, x = built(Mamba1, state_size=3, rank=2)
    u, z = mix.project_in(x).chunk(2, dim=-1)
    u = silu(convolved(mix.convolution, u))
    low, write, read = mix.project_state(u).split([2, 3, 3], dim=-1)
    step, rate = softplus(mix.project_step(low)), -mix.log_rate.exp()
    h, rows = torch.zeros(2, 2 * DIM, 3, dtype=torch.float64), []
    for t in range(TIME):
        h = (step[:, t, :, None] * rate).exp() * h + (step * u)[:, t, :, None] * write[:, t, None]
        y = (h * read[:, t, None]).sum(-1) + mix.skip * u[:, t]
        rows.append(mix.project_out(y * silu(z[:, t])))
    assert_close(mix(x), torch.stack(rows, dim=1), **EXACT)


def test_mamba_starts_with_the_published_rates_and_step_sizes():
    torch.manual_seed(0)
    mix = Mamba1(64)
    assert_close(mix.log_rate.exp(), torch.arange(1.0, 17).expand(128, 16))
    steps = softplus(mix.project_step.bias)
    assert steps.min() > 0.99e-3
    assert steps.max() < 1.01e-1


def test_s4d_is_its_recurrence():
    mix, x = built(S4D, state_size=6)
    space = mix.state_space
    rate = torch.complex(-space.log_rate.exp(), space.frequency)
    decay = (space.log_step.exp()[:, None] * rate).exp()
    h, rows = 0, []
    for t in range(TIME):
        h = decay * h + (decay - 1) / rate * x[:, t, :, None]
        y = 2 * (torch.view_as_complex(space.weight) * h).sum(-1).real + space.skip * x[:, t]
        rows.append(glu(mix.project_out(gelu(y)), dim=-1))
    assert_close(mix(x), torch.stack(rows, dim=1), **EXACT)


def test_s5_is_its_recurrence():
    mix, x = built(S5, state_size=6)
    rate = torch.complex(-mix.log_rate.exp(), mix.frequency)
    decay = (mix.log_step.exp() * rate).exp()
    enter, leave = torch.view_as_complex(mix.input), torch.view_as_complex(mix.output)
    h, rows = 0, []
    for t in range(TIME):
        h = decay * h + (decay - 1) / rate * (x[:, t].to(enter.dtype) @ enter.t())
        y = gelu(2 * (h @ leave.t()).real + mix.skip * x[:, t])
        rows.append(y * mix.gate(y).sigmoid())
    assert_close(mix(x), torch.stack(rows, dim=1), **EXACT)


def test_s5_starts_as_the_normal_part_of_hippo():
    frequency, vectors = _hippo(6)
    root = torch.arange(6, dtype=torch.float64).add(0.5).sqrt()
    skew = -torch.outer(root, root).tril(-1) + torch.outer(root, root).triu(1)
    assert (frequency > 0).all()
    assert_close(skew.to(vectors.dtype) @ vectors, vectors * (1j * frequency), **EXACT)
    assert_close(vectors.mH @ vectors, torch.eye(3, dtype=vectors.dtype), **EXACT)


def test_slstm_is_its_equation_without_any_scaling():
    mix, x = built(SLSTM, heads=2, layer_index=1, layers=3)
    i, f = mix.project_gates(silu(convolved(mix.convolution, x))).chunk(2, dim=-1)
    raw = torch.stack([i, f, *mix.project_cell(x).chunk(2, dim=-1)], dim=2).unflatten(-1, (2, 4))
    by_gate = mix.recurrence.unflatten(-1, (4, 4))
    y, c, n, rows = torch.zeros(2, 2, 4, dtype=torch.float64), 0, 0, []
    for t in range(TIME):
        i, f, z, o = (raw[:, t] + torch.einsum("bhk,hkgv->bghv", y, by_gate)).unbind(1)
        c, n = f.sigmoid() * c + i.exp() * z.tanh(), f.sigmoid() * n + i.exp()
        y = o.sigmoid() * c / n
        normed = (y - y.mean(-1, keepdim=True)) / (y.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
        rows.append(mix.project_out(normed.flatten(1) * mix.gain))
    assert_close(mix(x), torch.stack(rows, dim=1), **EXACT)


def test_slstm_does_not_overflow():
    mix = SLSTM(DIM)
    x = 1e4 * torch.randn(1, 50, DIM)
    x.requires_grad_()
    written = mix(x)
    assert written.isfinite().all()
    assert torch.autograd.grad(written.sum(), x)[0].isfinite().all()


@pytest.mark.parametrize("t", [1, 33, 100])
def test_a_diagonal_state_space_is_its_recurrence(t):
    def drawn(*shape):
        return torch.randn(shape, dtype=torch.float64, requires_grad=True)

    x, log_decay, angle, parts, state = drawn(2, t, 3), drawn(3, 4), drawn(3, 4), drawn(3, 4, 2), drawn(2, 3, 4, 2)
    given = (x, -log_decay.exp(), angle, torch.view_as_complex(parts))
    for before in (None, state):
        fast, slow = diagonal_ssm(*given, before), diagonal_ssm_reference(*given, before)
        assert_close(fast, slow, **EXACT)
        upstream = [torch.randn(out.shape, dtype=out.dtype) for out in fast]
        inputs = [x, log_decay, angle, parts, *([] if before is None else [before])]
        gradients = [torch.autograd.grad(outs, inputs, upstream, retain_graph=True) for outs in (fast, slow)]
        assert_close(*gradients, **EXACT)


def test_late_angles_are_as_precise_as_early_ones():
    log_decay, angle, weight = torch.zeros(1, 1), torch.full((1, 1), 3.0), torch.ones(1, 1, dtype=torch.complex64)
    kernel = ssm_kernel(log_decay, angle, weight, 100_000)[0]
    expected = 2 * (3 * torch.arange(100_000, dtype=torch.float64)).cos()
    assert_close(kernel.double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mixer", MIXERS)
def test_shows_what_it_keeps(mixer):
    mix, x = built(mixer)
    for panel in mix.panels(x):
        assert panel.values.isfinite().all()


@pytest.mark.parametrize(
    ("mixer", "options", "error"),
    [
        (MinGRU, {"expansion": 0}, "expansion must be 1 or more, not 0"),
        (MinLSTM, {"expansion": -1}, "expansion must be 1 or more, not -1"),
        (RGLRU, {"width": 0}, "width must be 1 or more, not 0"),
        (RGLRU, {"heads": 3}, "heads must divide the width of the recurrence: with width=8, not 3"),
        (RGLRU, {"kernel_size": 9}, "kernel_size must be from 1 to 8, not 9"),
        (Mamba1, {"state_size": 0}, "state_size must be 1 or more, not 0"),
        (Mamba1, {"rank": 0}, "rank must be 1 or more, not 0"),
        (S4D, {"state_size": 3}, "state_size must be an even number from 2 on, for states are complex: not 3"),
        (S5, {"state_size": 0}, "state_size must be an even number from 2 on, for states are complex: not 0"),
        (SLSTM, {"heads": 3}, "heads must divide dim: with dim=8, not 3"),
    ],
)
def test_options_out_of_range_are_refused(mixer, options, error):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole text is compared
        mixer(DIM, **options)
    assert str(refused.value) == error
