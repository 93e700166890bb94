"""Recurrences that erase, by the arguments of their sources."""

from functools import partial

from einops import rearrange
from torch.nn.functional import normalize

from mixers.ops.delta_product import delta_product
from mixers.ops.erase import erase
from mixers.ops.gates import bounded_decay, softplus_decay
from mixers.ops.preconditioner import preconditioner


def delta(q, k, v, beta, g=None, *, initial_state=None, factor=1.0):
    """From a state that has decayed, along one key, written along a multiple of it."""
    scalar = g is not None and g.ndim == 3
    a = -k if g is None else -k * (g.exp()[..., None] if scalar else g.exp())
    o, state = erase(q * q.shape[-1] ** -0.5, a, beta[..., None] * factor * k, v, g, initial_state)
    return {"o": o, "state": state}


def head_first(*tensors):
    return [None if x is None else x.transpose(1, 2) for x in tensors]


def delta_rule(q, k, v, beta, initial_state=None):
    out = delta(*head_first(q, k, v, beta), initial_state=initial_state)
    return out | {"o": out["o"].transpose(1, 2)}


def gated_delta_product(q, k, v, g, beta, *, steps, initial_state=None):
    k, v, beta = (x.unflatten(1, (-1, steps)) for x in (k, v, beta))
    o, state = delta_product(q, k, v, beta, g, initial_state)
    return {"o": o, "state": state}


def gdn2(q, k, v, g, b, *, w, initial_state=None):
    o, state = erase(q * q.shape[-1] ** -0.5, -g.exp() * b * k, k, w * v, g, initial_state)
    return {"o": o, "state": state}


def comba(q, k, v, p, beta, *, g, initial_state=None):
    o, state = erase(q * q.shape[-1] ** -0.5, -p, beta[..., None] * k, v, g, initial_state)
    return {"o": o, "state": state}


def dplr(q, k, v, alpha, beta, *, gk=None, initial_state=None):
    q, k, v, alpha, beta, gk = head_first(q * q.shape[-1] ** -0.5, k, v, alpha, beta, gk)
    o, state = erase(q, alpha, beta, v, gk, initial_state, key=k)
    return {"o": o.transpose(1, 2), "state": state}


def rwkv7(r, w, k, v, a, *, b, initial_state=None, state=None, channels=8):
    r, w, k, v, a, b = (rearrange(x, "b t (h k) -> b t h k", k=channels) for x in (r, w, k, v, a, b))
    state = state if initial_state is None else initial_state
    state = None if state is None else state.mT
    o, state = erase(r, a, b, v, -w.exp(), state, key=k)
    return {"o": o.flatten(2), "state": state.mT}


def preconditioned(q, k, v, beta, g, *, g_atk, beta_atk, initial_state=None, initial_A_state=None):  # noqa: N803
    factor, state_a = preconditioner(k, g_atk, beta_atk, initial_A_state)
    return delta(q, k, v, beta, g, initial_state=initial_state, factor=factor) | {"state_a": state_a}


def precond_gated_delta_rule(q, k, **others):
    return preconditioned(normalize(q, dim=-1), normalize(k, dim=-1), **others)


def kda_gate(g, A_log, dt_bias, *, gate):  # noqa: N803
    return {"log_decay": gate(g, A_log, dt_bias.view(g.shape[-2:]))}


ADAPTERS = {
    "delta-rule": delta_rule,
    "gated-delta-rule": delta,
    "gated-delta-product-2": partial(gated_delta_product, steps=2),
    "gated-delta-product-3": partial(gated_delta_product, steps=3),
    "kda": delta,
    "gdn2": gdn2,
    "comba": comba,
    "iplr": dplr,
    "dplr": dplr,
    "rwkv7": rwkv7,
    "precond-gated-delta-rule": precond_gated_delta_rule,
    "precond-kda": preconditioned,
    "kda-gate": partial(kda_gate, gate=softplus_decay),
    "kda-gate-lower-bound": partial(kda_gate, gate=bounded_decay),
}
