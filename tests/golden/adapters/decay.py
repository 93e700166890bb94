"""The family of the decaying state, as its sources take their arguments."""

import math

import torch
from torch import Tensor
from torch.nn.functional import silu

from mixers.ops.decay import decay
from mixers.ops.features import hedgehog, normalized, rebased, taylor
from mixers.ops.mamba3 import mamba3
from mixers.ops.slots import abc, gsa

Outputs = dict[str, Tensor]


def retention(q: Tensor, k: Tensor, v: Tensor) -> Outputs:
    """Head first; one constant decay a head."""
    heads = torch.arange(q.shape[1], dtype=q.dtype)
    o, _ = decay(_scaled(q).transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), torch.log1p(-(2 ** (-5 - heads))))
    return {"o": o.transpose(1, 2)}


def linear_attention(q: Tensor, k: Tensor, v: Tensor, s: Tensor | None = None) -> Outputs:
    """No decay."""
    o, state = decay(_scaled(q), k, v, None, s)
    return {"o": o, "state": state}


def linear_attention_normalized(
    q: Tensor, k: Tensor, v: Tensor, s: Tensor | None = None, z: Tensor | None = None
) -> Outputs:
    """The running sum of the keys is kept apart, ``(b, 1, h, k)``."""
    before = None if s is None or z is None else torch.cat([s, z[:, 0, :, :, None]], dim=-1)
    o, state = normalized(_scaled(q), k, v, before)
    return {"o": o, "state.0": state[..., :-1], "state.1": state[..., -1][:, None]}


def simple_gla(q: Tensor, k: Tensor, v: Tensor, g: Tensor, initial_state: Tensor | None = None) -> Outputs:
    """One decay a head."""
    o, state = decay(_scaled(q), k, v, g, initial_state)
    return {"o": o, "state": state}


def gla(q: Tensor, k: Tensor, v: Tensor, gk: Tensor, initial_state: Tensor | None = None) -> Outputs:
    """One decay a channel."""
    o, state = decay(_scaled(q), k, v, gk, initial_state)
    return {"o": o, "state": state}


def hgrn2(q: Tensor, v: Tensor, gk: Tensor, k: Tensor | None = None, initial_state: Tensor | None = None) -> Outputs:
    """The key is what the gate, with its lower bound, forgets: given beside the gate, with a gradient of its own."""
    return gla(q, -torch.expm1(gk) if k is None else k, v, gk, initial_state)


def rwkv6(  # noqa: PLR0917 - the source's arguments
    q: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, initial_state: Tensor | None = None
) -> Outputs:
    """Head first and unscaled; read before the write, with a bonus."""
    q, k, v, w = (x.transpose(1, 2) for x in (q, k, v, w))
    o, state = decay(q, k, v, w, initial_state, read="before", bonus=u)
    return {"o": o.transpose(1, 2), "state": state}


def gated_slot_attention(  # noqa: PLR0917 - the source's arguments
    q: Tensor, k: Tensor, v: Tensor, s: Tensor, g: Tensor, hk: Tensor | None = None, hv: Tensor | None = None
) -> Outputs:
    """The scale acts on the slots' logits alone."""
    o, state = gsa(_scaled(q), k, v, s, g, None if hk is None or hv is None else (hk, hv))
    return {"o": o, "state.0": state[0], "state.1": state[1]}


def bounded_memory(q: Tensor, k: Tensor, v: Tensor, s: Tensor) -> Outputs:
    """Head first; the source returns no running sum."""
    q, k, v, s = (x.transpose(1, 2) for x in (q, k, v, s))
    o, state = abc(_scaled(q), k, v, s)
    return {"o": o.transpose(1, 2), "state.0": state[0], "state.1": state[1]}


def based(q: Tensor, k: Tensor, v: Tensor) -> Outputs:
    """Head first; the features of the quadratic form that the source sums."""
    o, _ = normalized(*(taylor(x.transpose(1, 2)) for x in (q, k)), v.transpose(1, 2), epsilon=1e-6)
    return {"o": o.transpose(1, 2)}


def rebased_attention(q: Tensor, k: Tensor, v: Tensor) -> Outputs:
    """Head first; the layer norm comes before, so that the features are those of the raw channels."""
    features = (_squares(x.transpose(1, 2)) for x in (q, k))
    o, _ = normalized(*features, v.transpose(1, 2), epsilon=1e-6)
    return {"o": o.transpose(1, 2)}


def feature_map(x: Tensor, **parameters: Tensor) -> Outputs:
    """The parameters say which one it is."""
    if "w" in parameters:
        return {"phi": hedgehog(x, parameters["w"], parameters["bias"])}
    if "gamma" in parameters:
        return {"phi": rebased(x, parameters["gamma"], parameters["beta"])}
    return {"phi": taylor(x)}


def mamba2(X: Tensor, A: Tensor, B: Tensor, C: Tensor, initial_states: Tensor | None = None) -> Outputs:  # noqa: N803 - the source's names
    """States are value first."""
    o, state = decay(C, B, X, A, None if initial_states is None else initial_states[:, 0].mT)
    return {"o": o, "state": state.mT}


def mamba3_siso(Q: Tensor, K: Tensor, V: Tensor, **rest: Tensor) -> Outputs:  # noqa: N803 - the source's names
    """One query, key and value a head; states are value first, and gates time last."""
    names = ("angle", "ssm", "kst", "vst")
    angle, matrix, key, value = (rest.get(name) for name in names)
    state = None
    if angle is not None and matrix is not None and key is not None and value is not None:
        state = angle, matrix.mT, key[:, :, None], value[:, :, None]
    query, key = Q[..., None, :] + rest["Q_bias"][:, None], K[..., None, :] + rest["K_bias"][:, None]
    o, (theta, matrix, key, value) = mamba3(query, key, V[..., None, :], **_gates(rest), state=state)
    o = (o.squeeze(3) + rest["D"][:, None] * V) * silu(rest["Z"])
    return {"o": o, "state.0": theta, "state.1": matrix.mT, "state.2": key.squeeze(2), "state.3": value.squeeze(2)}


def mamba3_mimo(Q: Tensor, K: Tensor, V: Tensor, **rest: Tensor) -> Outputs:  # noqa: N803 - the source's names
    """Ranks come before the group of a query; the source does not take full turns from its angle."""
    query, key = (x.transpose(2, 3) + rest[f"{name}_bias"] for name, x in (("Q", Q), ("K", K)))
    values = V[..., None, :] * rest["MIMO_V"]
    o, (theta, matrix, key, value) = mamba3(*torch.broadcast_tensors(query, key), values, **_gates(rest))
    o = (o + rest["D"][:, None, None] * values) * silu(rest["Z"][..., None, :] * rest["MIMO_Z"])
    turns = (math.pi * rest["DT"].transpose(1, 2)[..., None] * rest["Angles"].tanh()).sum(1)
    theta = theta + (turns - theta).detach()
    out = (o * rest["MIMO_O"]).sum(3)
    return {"o": out, "state.0": theta, "state.1": matrix.mT, "state.2": key, "state.3": value}


def _gates(rest: dict[str, Tensor]) -> dict[str, Tensor]:
    log_decay, step, blend = (rest[name].transpose(1, 2) for name in ("ADT", "DT", "Trap"))
    return {"log_decay": log_decay, "step": step, "blend": blend.sigmoid(), "turn": rest["Angles"]}


def _scaled(q: Tensor) -> Tensor:
    return q * q.shape[-1] ** -0.5


def _squares(x: Tensor) -> Tensor:
    """Features whose product is ``<q, k>**2 / k``."""
    return (x[..., :, None] * x[..., None, :]).flatten(-2) * x.shape[-1] ** -0.5


ADAPTERS = {
    "retention": retention,
    "linear-attention": linear_attention,
    "linear-attention-normalized": linear_attention_normalized,
    "simple-gla": simple_gla,
    "gla": gla,
    "hgrn2": hgrn2,
    "rwkv6": rwkv6,
    "gsa": gated_slot_attention,
    "abc": bounded_memory,
    "based": based,
    "rebased": rebased_attention,
    "feature-map": feature_map,
    "mamba2-ssd": mamba2,
    "mamba3-siso": mamba3_siso,
    "mamba3-mimo": mamba3_mimo,
}
