"""Memories that learn at test time, by the arguments of their sources."""

import torch
from torch.nn.functional import pad

from mixers.ops.inner_loss import EPSILON
from mixers.ops.log_linear import log_linear
from mixers.ops.mesa import mesa
from mixers.ops.titans import titans
from mixers.ops.ttt import TTTState, ttt

MINI_BATCH = 16


def mesa_net(q, k, v, g, lamb, *, beta, h_kk_init=None, h_kv_init=None):
    state = None if h_kk_init is None else (h_kk_init, h_kv_init)
    o, (covariance, memory) = mesa(q, k, v, g, beta, lamb, state)
    return {"o": o, "state_kk": covariance, "state_kv": memory}


def log_linear_attention(q, k, v, g, level_scales):
    # A single token has the level 0 alone: it gets another, which nothing is in.
    return {"o": log_linear(q, k, v, g, pad(level_scales, (0, 1)))[0]}


def normed(x, gain, bias):
    """What the sources read of a memory: the layer norm on top of what it says."""
    centred = x - x.mean(-1, keepdim=True)
    return x + centred / (centred.square().mean(-1, keepdim=True) + EPSILON).sqrt() * gain + bias


def to_whole_mini_batches(*tensors):
    """The sources fill up with tokens of zeros, which move their bias."""
    missing = -tensors[0].shape[1] % MINI_BATCH
    return [pad(x, (0, 0, 0, 0, 0, missing)) for x in tensors]


def last_repeated(gate):
    """Gates, filled up with zeros but for the very last token, which has the gate of the last real one."""
    (whole,) = to_whole_mini_batches(gate)
    if whole.shape[1] > gate.shape[1]:
        whole = torch.cat([whole[:, :-1], gate[:, -1:]], dim=1)
    return whole[..., 0]


def ttt_linear(q, k, v, w, b, *, eta, initial_state=None, initial_state_bias=None):
    state = None
    if initial_state is not None:
        weight = torch.cat([initial_state, initial_state_bias], dim=2)
        state = TTTState(weight, torch.zeros_like(weight), torch.zeros(len(q), dtype=torch.int64))
    query, key, value = to_whole_mini_batches(q * q.shape[-1] ** -0.5, k, v)
    out, state = ttt(query, key, value, last_repeated(eta), w, b, state, mini_batch=MINI_BATCH)
    weight, bias = state.weight[:, :, :-1], state.weight[:, :, -1:]
    return {"o": normed(out[:, : q.shape[1]], w, b), "state": weight, "state_bias": bias}


def gradient_without_brackets(prediction, target, gain, bias):
    """The source divides the second and third term of the gradient by the scale and the channels, and not the first."""
    channels = prediction.shape[-1]
    centred = prediction - prediction.mean(-1, keepdim=True)
    scale = (centred.square().mean(-1, keepdim=True) + EPSILON).sqrt()
    hat = centred / scale
    outer = gain * (gain * hat + bias - target)
    rest = outer.sum(-1, keepdim=True) + hat * (outer * hat).sum(-1, keepdim=True)
    return channels * outer - rest / (scale * channels)


def titans_linear(q, k, v, w, b, *, theta, alpha, eta):
    w, b = w[:, 0], b[:, 0]
    query, key, value = to_whole_mini_batches(q, k, v)
    rate, forget, momentum = (last_repeated(x) for x in (2 * theta, alpha, eta))
    options = {"mini_batch": MINI_BATCH, "gradient": gradient_without_brackets}
    out, state = titans(query, key, value, rate, forget, momentum, w, b, **options)
    return {"o": normed(out[:, : q.shape[1]], w, b), "state": state.memory}


ADAPTERS = {
    "mesa": mesa_net,
    "log-linear": log_linear_attention,
    "ttt-linear": ttt_linear,
    "titans-linear": titans_linear,
}
