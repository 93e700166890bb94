"""Adapters of the softmax family: operators that take their arguments time first, heads second."""

from functools import partial

import torch
from torch import Tensor

from mixers.ops.attention import visible
from mixers.ops.attention_bias import attend_biased
from mixers.ops.block_attention import block_importance, compressed_weights, moba, nsa
from mixers.ops.path_attention import path_attend
from mixers.ops.stick_breaking import stick_breaking

WINDOW = 9
"""Tokens that a query sees in the cases with a window, its own included."""

BLOCK = 8
"""Tokens in a block of the sparse cases."""

CHOSEN = 3
"""How many blocks they choose."""


def head_first(x: Tensor) -> Tensor:
    """Swap time and heads, which is the way back, too."""
    return x.transpose(1, 2)


def forgetting(q, k, v, g, window=None):
    query, key, value = map(head_first, (q, k, v))
    scale = q.shape[-1] ** -0.5
    return {"o": head_first(attend_biased(query, key, value, scale=scale, log_decay=head_first(g), window=window))}


def softmax(q, k, v, sink_bias, window=None):
    query, key, value = map(head_first, (q, k, v))
    scale = q.shape[-1] ** -0.5
    out = attend_biased(query, key, value, scale=scale, sink=sink_bias, window=window)
    scores = query @ key.repeat_interleave(query.shape[1] // key.shape[1], dim=1).mT * scale
    seen = visible(q.shape[1], q.shape[1], window, q.device)
    largest = scores.masked_fill(~seen, -torch.inf).amax(-1).maximum(sink_bias[:, None])
    return {"o": head_first(out), "max_logit": head_first(largest)}


def stick(q, k, v):
    out, rest = stick_breaking(q, k, v, scale=q.shape[-1] ** -0.5)
    return {"o": out, "rest": rest}


def path(q, k, v, w, beta, *, g=None):
    scale = q.shape[-1] ** -0.5
    query, key, value, direction, strength = map(head_first, (q, k, v, w, beta))
    decay = None if g is None else scale * head_first(g)  # this source scales the forget gate, too
    out, _ = path_attend(query, key, value, direction, strength, scale=scale, log_decay=decay)
    return {"o": head_first(out)}


def native_sparse(q, k, v, g_cmp, g_slc):
    query, key, value = map(head_first, (q, k, v))
    options = {"scale": q.shape[-1] ** -0.5, "block_size": BLOCK}
    compressed, selected = nsa(query, key, value, blocks=CHOSEN, **options)
    weights = compressed_weights(query, key, **options)
    indices = _indices(block_importance(weights, key.shape, BLOCK).clamp_max(1), CHOSEN)
    out = head_first(selected) * g_slc[..., None] + head_first(compressed) * g_cmp[..., None]
    return {"o": out, "indices": head_first(indices)}


def block_mixture(q, k, v):
    query, key, value = (x.unflatten(0, (2, -1)).transpose(1, 2) for x in (q, k, v))  # two packed documents
    out = moba(query, key, value, scale=q.shape[-1] ** -0.5, block_size=BLOCK, blocks=CHOSEN)
    return {"o": head_first(out).flatten(0, 1)}


def lightning_indexer(q, k, v, *, q_idx, k_idx, w_idx):
    t, count = q.shape[1], 8
    scores = torch.einsum("btjc,bsc->btsj", q_idx, k_idx).mul(q_idx.shape[-1] ** -0.5).relu()
    scores = torch.einsum("btsj,btj->bts", scores, w_idx)
    later = torch.ones(t, t, dtype=torch.bool).triu(1)
    indices = _indices(scores.masked_fill(later, -torch.inf), count)
    keep = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, indices.clamp_min(0), True)
    query, key, value = map(head_first, (q, k, v))
    out = attend_biased(query, key, value, scale=q.shape[-1] ** -0.5, keep=keep[:, None])
    return {"o": head_first(out), "indices": indices}


def parallax(q, r, k, v):
    weights = _scores(q, k).softmax(-1)
    probe = weights * torch.einsum("bthk,bshk->bhts", r, k)
    mean, tilted = (torch.einsum("bhts,bshv->bthv", of, v) for of in (weights, probe))
    return {"o": (1 + head_first(probe.sum(-1))[..., None]) * mean - tilted}


def wall(q, k, v, g):
    total = g.cumsum(1)
    later = torch.ones(q.shape[1], q.shape[1], dtype=torch.bool).triu(1)[..., None, None]
    decay = (total[:, :, None] - total[:, None]).masked_fill(later, -torch.inf).exp()
    scores = torch.einsum("bthk,bshk,btshk->bhts", q, k, decay) * q.shape[-1] ** -0.5
    weights = scores.masked_fill(later[..., 0, 0], -torch.inf).softmax(-1)
    return {"o": torch.einsum("bhts,bshv->bthv", weights, v)}


def deltaformer(q, k, v, beta):
    scores = _scores(q, k)
    strict = scores.masked_fill(torch.eye(q.shape[1], dtype=torch.bool), -torch.inf)
    strict[:, :, 0] = torch.where(torch.arange(q.shape[1]) == 0, 0.0, -torch.inf)  # sees nothing, and is masked below
    erased = head_first(beta)[..., None] * strict.softmax(-1).tril(-1)
    values = torch.linalg.solve_triangular(
        erased + torch.eye(q.shape[1], dtype=q.dtype), head_first(v), upper=False, unitriangular=True
    )
    return {"o": head_first(scores.softmax(-1) @ values)}


def _scores(q: Tensor, k: Tensor) -> Tensor:
    scores = torch.einsum("bthk,bshk->bhts", q, k) * q.shape[-1] ** -0.5
    return scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -torch.inf)


def _indices(scores: Tensor, count: int) -> Tensor:
    """The places of the highest scores in the order of `topk`, -1 where nothing is left, or less than `count`."""
    top = scores.topk(min(count, scores.shape[-1]), dim=-1)
    indices = top.indices.masked_fill(top.values == -torch.inf, -1)
    return torch.nn.functional.pad(indices, (0, count - indices.shape[-1]), value=-1)


ADAPTERS = {
    "forgetting": forgetting,
    "forgetting-gqa-window": partial(forgetting, window=WINDOW),
    "softmax": softmax,
    "softmax-sink-window": partial(softmax, window=WINDOW),
    "stick-breaking": stick,
    "path": path,
    "nsa": native_sparse,
    "moba": block_mixture,
    "dsa": lightning_indexer,
    "parallax": parallax,
    "wall": wall,
    "deltaformer": deltaformer,
}
