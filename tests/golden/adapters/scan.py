# ruff: noqa: N803, PLR0917 - arguments have the names of the sources
"""The recurrences of hgrn, RG-LRU, minGRU, minLSTM, mamba and S4D, and the long convolution."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from mixers.layers.diagonal_state_space import DiagonalStateSpace
from mixers.ops.diagonal_ssm import ssm_kernel
from mixers.ops.longconv import longconv
from mixers.ops.scan import scan
from mixers.ops.selective_scan import selective_scan
from mixers.ops.square_root import bounded_sqrt

Outputs = dict[str, Tensor]


def hgrn(x: Tensor, g: Tensor, initial_state: Tensor | None = None) -> Outputs:
    """``x`` is the gated input, ``g`` the log decay."""
    o, state = scan(g.exp(), x, initial_state)
    return {"o": o, "state": state}


def rg_lru(
    x: Tensor,
    segment_pos: Tensor,
    a_param: Tensor,
    wi: Tensor,
    bi: Tensor,
    wa: Tensor,
    ba: Tensor,
    h0: Tensor | None = None,
) -> Outputs:
    """A token whose place in its document is 0 starts anew, and is written whole."""
    by_head = x.unflatten(-1, (len(wi), -1))
    read = torch.einsum("bthi,hij->bthj", by_head, wi).add(bi).sigmoid().flatten(2) * x
    log_decay = -8 * torch.einsum("bthi,hij->bthj", by_head, wa).add(ba).sigmoid().flatten(2) * F.softplus(a_param)
    first = (segment_pos == 0)[..., None]
    written = torch.where(first, read, bounded_sqrt(-torch.expm1(2 * log_decay)) * read)
    o, state = scan(log_decay.exp().masked_fill(first, 0), written, h0)
    return {"o": o, "state": state}


def positive(x: Tensor) -> Tensor:
    return torch.where(x >= 0, x + 0.5, x.sigmoid())


def min_gru(x: Tensor, w: Tensor, h: Tensor | None = None) -> Outputs:
    hidden, gate = (x @ w.t()).chunk(2, dim=-1)
    z = gate.sigmoid()
    o, state = scan(1 - z, z * positive(hidden), None if h is None else h[:, 0])
    return {"o": o, "state": state[:, None]}


def min_lstm(x: Tensor, w: Tensor, h: Tensor | None = None) -> Outputs:
    hidden, forget, enter = (x @ w.t()).chunk(3, dim=-1)
    share = (F.softplus(-forget) - F.softplus(-enter)).sigmoid()
    o, state = scan(1 - share, share * positive(hidden), None if h is None else h[:, 0])
    return {"o": o, "state": state[:, None]}


def mamba1_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, delta_bias: Tensor
) -> Outputs:
    """The source has channels first, adds the skip connection and applies the gate."""
    x, step, write, read, gate = (tensor.transpose(1, 2) for tensor in (u, delta, B, C, z))
    y, state = selective_scan(x, F.softplus(step + delta_bias), A, write, read)
    return {"o": ((y + D * x) * F.silu(gate)).transpose(1, 2), "state": state}


def s4d(log_dt: Tensor, C: Tensor, log_A_real: Tensor, A_imag: Tensor, u: Tensor, D: Tensor) -> Outputs:
    """The layer's own discretisation, in the source's channels-first layout."""
    space = DiagonalStateSpace(len(D), 2 * log_A_real.shape[1]).to(u.dtype)
    given = {"log_step": log_dt, "weight": C, "log_rate": log_A_real, "frequency": A_imag, "skip": D}
    y = functional_call(space, given, (u.transpose(1, 2),))
    exponent = log_dt.exp()[:, None] * torch.complex(-log_A_real.exp(), A_imag)
    weight = torch.view_as_complex(C.contiguous()) * torch.expm1(exponent) / torch.complex(-log_A_real.exp(), A_imag)
    return {"y": y.transpose(1, 2), "kernel": ssm_kernel(exponent.real, exponent.imag, weight, u.shape[-1])}


def long_conv(u: Tensor, k: Tensor, D: Tensor) -> Outputs:
    return {"o": longconv(u.transpose(1, 2), k, D).transpose(1, 2)}


ADAPTERS = {
    "hgrn": hgrn,
    "rg-lru": rg_lru,
    "min-gru": min_gru,
    "min-lstm": min_lstm,
    "mamba1-scan": mamba1_scan,
    "s4d": s4d,
    "long-conv": long_conv,
}
