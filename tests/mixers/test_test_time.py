"""The mixers that learn at test time, against the equations of their docstrings."""

from itertools import pairwise

import pytest
import torch
from torch.nn.functional import layer_norm, logsigmoid, rms_norm, softplus
from torch.testing import assert_close

from mixers.test_time.log_linear import LogLinear
from mixers.test_time.mesa import Mesa
from mixers.test_time.titans import Titans
from mixers.test_time.ttt_linear import TTTLinear
from zoo import create_mixer

ALL = {"log-linear": LogLinear, "mesa": Mesa, "titans": Titans, "ttt-linear": TTTLinear}
DIM, HEADS, SIZE, TIME = 12, 2, 6, 9


def made(kind, **options):
    """A mixer in float64 with noise on its parameters, and reads."""
    torch.manual_seed(0)
    mixer = kind(DIM, heads=HEADS, **options).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return mixer, torch.randn(1, TIME, DIM, dtype=torch.float64)


def read_by(mixer, x):
    """Queries, keys and values of the one row by token, ``(t, h, k)``."""
    query, key, value, _ = mixer.heads_in(x, None, None)
    return query[0], key[0], value[0]


def written_by(mixer, y):
    """What heads without a gate write."""
    normed = rms_norm(torch.stack(y), (SIZE,), eps=1e-6) * mixer.heads_out.gain
    return normed.flatten(1) @ mixer.heads_out.project.weight.T


def test_the_zoo_has_them():
    assert {name: type(create_mixer(name, dim=8)) for name in ALL} == ALL


def test_mesa_is_its_equation():
    mixer, x = made(Mesa)
    (query, key, value), asked = read_by(mixer, x), (x[0] @ mixer.project_gates.weight.T).unflatten(-1, (2, HEADS))
    forget, write = (asked + mixer.gate_bias).sigmoid().unbind(1)
    ridge, y = (softplus(mixer.ridge) + 0.25).diag_embed(), []
    covariance = memory = torch.zeros(HEADS, SIZE, SIZE, dtype=torch.float64)
    for q, k, v, f, w in zip(query, key, value, forget[..., None, None], write[..., None, None], strict=True):
        covariance = f * covariance + w * k[:, :, None] * k[:, None]
        memory = f * memory + w * k[:, :, None] * v[:, None]
        y.append(torch.einsum("hkv,hk->hv", memory, torch.linalg.solve(covariance + ridge, q)))
    assert_close(mixer(x)[0], written_by(mixer, y))


def test_mesa_starts_with_a_ridge_of_1_and_long_memories():
    mixer = Mesa(DIM, heads=HEADS)
    assert_close(mixer._ridge(), torch.ones(HEADS, SIZE))
    log_decay, beta = mixer._gates(torch.zeros(1, 1, DIM))
    assert_close(log_decay[0, 0], logsigmoid(torch.tensor([3.0, 6.0])))
    assert_close(beta[0, 0], torch.tensor([0.5, 0.5]))


def test_log_linear_is_its_equation():
    mixer, x = made(LogLinear, gated=False, levels=4)
    query, key, value = read_by(mixer, x)
    decay = mixer.decay(x)[0]
    scale = softplus(mixer.level_gain * (x[0] @ mixer.project_levels.weight.T).unflatten(-1, (HEADS, 4)))
    y = []
    for t in range(TIME):
        terms = (
            scale[t, :, min((t ^ s).bit_length(), 3), None]
            * decay[s + 1 : t + 1].sum(0).exp()[:, None]
            * (query[t] * key[s]).sum(-1, keepdim=True)
            * value[s]
            for s in range(t + 1)
        )
        y.append(sum(terms))
    assert_close(mixer(x)[0], written_by(mixer, y))


def test_ttt_is_its_equation():
    mixer, x = made(TTTLinear, mini_batch=4, rate=0.5)
    query, key, value = read_by(mixer, x)
    gain, bias, y = mixer.norm.gain, mixer.norm.bias, []
    rates = 0.5 * (x[0] @ mixer.project_rate.weight.T + mixer.project_rate.bias).sigmoid()
    for head in range(HEADS):
        weight, offset = mixer.weight[head], mixer.memory_bias[head, 0]
        norm = {"weight": gain[head], "bias": bias[head], "eps": 1.0}
        seen = []
        for start, end in pairwise((0, 4, 8, TIME)):
            w, c = (of.detach().requires_grad_() for of in (weight, offset))
            total = 0.0
            for i, t in enumerate(range(start, end)):
                k, v = key[t, head], value[t, head]
                total = total + rates[t, head] / 2 * (k + layer_norm(k @ w + c, (SIZE,), **norm) - v).square().sum()
                steps = torch.autograd.grad(total, (w, c), retain_graph=True)
                share = (1 + mixer.rate_offset[i]) / (i + 1)
                weight, offset = w - share * steps[0], c - share * steps[1]
                q = query[t, head] * SIZE**0.5
                seen.append(q + layer_norm(q @ weight + offset, (SIZE,), **norm))
        y.append(torch.stack(seen))
    assert_close(mixer(x)[0], written_by(mixer, list(torch.stack(y, dim=1))))


def test_titans_is_its_equation():
    mixer, x = made(Titans, mini_batch=4, rate=0.5)
    (query, key, value), asked = read_by(mixer, x), (x[0] @ mixer.project_gates.weight.T).unflatten(-1, (3, HEADS))
    rate, forget, momentum = (asked + mixer.gate_bias).sigmoid().unbind(1)
    y = []
    for head in range(HEADS):
        memory, speed, seen = mixer.weight[head], 0.0, []
        norm = {"weight": mixer.norm.gain[head], "bias": mixer.norm.bias[head], "eps": 1.0}
        for t in range(TIME):
            if t % 4 == 0:
                anchor = memory.detach().requires_grad_()
            k, v, m = key[t, head], value[t, head], momentum[t, head]
            loss = (k + layer_norm(k @ anchor, (SIZE,), **norm) - v).square().sum() / 2
            (step,) = torch.autograd.grad(loss, anchor)
            speed = m * speed - (1 - m) * 0.5 / 4 * rate[t, head] * step
            memory = (1 - forget[t, head]) * memory + speed
            q = query[t, head] * SIZE**0.5
            seen.append(q + layer_norm(q @ memory, (SIZE,), **norm))
        y.append(torch.stack(seen))
    assert_close(mixer(x)[0], written_by(mixer, list(torch.stack(y, dim=1))))


@pytest.mark.parametrize("name", ALL)
def test_a_gate_and_smaller_mini_batches_change_what_is_written(name):
    options = {"gated": name != "log-linear"}
    if name in ("titans", "ttt-linear"):
        options["mini_batch"] = 2
    (mixer, x), (other, _) = made(ALL[name]), made(ALL[name], **options)
    shared = {n: p for n, p in mixer.state_dict().items() if p.shape == other.state_dict().get(n, x).shape}
    other.load_state_dict(shared, strict=False)
    assert not torch.allclose(mixer(x), other(x))


@pytest.mark.parametrize("name", ALL)
def test_rows_of_different_ages_step_together(name):
    mixer, x = made(ALL[name])
    y = torch.randn_like(x)
    _, young = mixer.step(x[:, :2])
    _, old = mixer.step(x[:, :7])
    joined = torch.utils._pytree.tree_map(lambda *rows: torch.cat(rows), young, old)
    out, _ = mixer.step(torch.cat([y, y]), joined)
    for row, count in enumerate((2, 7)):
        assert_close(out[row], mixer(torch.cat([x[:, :count], y], dim=1))[0, count:])


@pytest.mark.parametrize("name", ALL)
def test_panels_show_heads_and_tokens(name):
    mixer, x = made(ALL[name])
    with torch.no_grad():
        panels = mixer.panels(x)
    assert panels
    assert all(panel.values.isfinite().all() and TIME in panel.values.shape for panel in panels)


@pytest.mark.parametrize(
    ("kind", "options", "error"),
    [
        (Mesa, {"heads": 5}, "heads=5 does not divide dim=12"),
        (LogLinear, {"levels": 1}, "levels must be from 2 to 32, not 1"),
        (TTTLinear, {"mini_batch": 0}, "mini_batch must be 1 or more, not 0"),
        (TTTLinear, {"rate": 0.0}, "rate must be above 0, not 0.0"),
        (Titans, {"mini_batch": 0}, "mini_batch must be 1 or more, not 0"),
        (Titans, {"rate": -1.0}, "rate must be above 0, not -1.0"),
        (Titans, {"epsilon": 0.0}, "epsilon must be above 0, not 0.0"),
    ],
)
def test_options_out_of_range_are_refused(kind, options, error):
    with pytest.raises(ValueError, match=error):
        kind(DIM, **options)
