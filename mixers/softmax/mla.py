"""Multi-head latent attention: keys and values of all heads are read from one short vector a token."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixers.layers.cached_attention import SHOWN_TOKENS, CachedAttention, extended, softmax_panel, tokens_so_far
from mixers.ops.attention import attend, head_size, merge_heads
from mixers.ops.rotary import rotate_pair
from zoo import Panel


class MLA(CachedAttention):
    """Softmax attention whose keys and values are made from a latent vector, which is all that is kept of a token.

        y_t = sum_s softmax_s( (<q_t, k_s> + <p_t, r_s>) * (k + n)**-0.5 ) v_s     over  s <= t
        c_s = rmsnorm(W_c x_s)          (k_s, v_s) = W_kv c_s a head          r_s = rotated W_r x_s, one for all heads

    q, p: queries a head, linear in the reads x, or in a latent vector of their own, rmsnorm(W_q x); p is rotated by
    its position. k: channels of a key and of a value, those of dot-product; n: the rotated ones. In a step W_kv is
    absorbed: queries are turned into the space of the latent vectors, which are compared and read as they are.

    Options:
        heads: query heads; they divide dim.
        latent: channels of c; None for those of four heads, and half of dim at most.
        query_latent: channels of a latent vector for the queries; None to read them from the stream.
        rotary: channels of r, an even number; None for half a head's, 0 for none, so that order is not seen (NoPE).

    Cost: time ``t**2 * heads * (2 * k + n)`` beside the projections; a step costs ``s * heads * (2 * latent + n)``.
    State: latent vectors and rotated keys of all tokens so far, ``t * (latent + n)`` numbers.

    Raises:
        ValueError: heads that do not divide dim, latent or query_latent below 1, a rotary that is negative or odd.

    Source: DeepSeek-V2 2024, arXiv:2405.04434; without rotary as in Kimi Linear, arXiv:2510.26692.
    """

    paper: ClassVar[str] = "DeepSeek-AI 2024, arXiv:2405.04434"

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        latent: int | None = None,
        query_latent: int | None = None,
        rotary: int | None = None,
    ) -> None:
        super().__init__()
        self.heads, self.size = heads, head_size(dim, heads, heads, rope=False)
        self.latent = max(1, min(4 * self.size, dim // 2)) if latent is None else latent
        self.rotary = 2 * ((self.size + 3) // 4) if rotary is None else rotary
        _check_widths(self.latent, query_latent, self.rotary)
        self.scale = (self.size + self.rotary) ** -0.5
        queries = heads * (self.size + self.rotary)
        of_queries = queries if query_latent is None else query_latent
        self.project_in = nn.Linear(dim, of_queries + self.latent + self.rotary, bias=False)
        self.query_norm = None if query_latent is None else nn.RMSNorm(query_latent, eps=1e-6)
        self.expand_query = None if query_latent is None else nn.Linear(query_latent, queries, bias=False)
        self.latent_norm = nn.RMSNorm(self.latent, eps=1e-6)
        self.expand = nn.Linear(self.latent, 2 * dim, bias=False)
        self.project_out = nn.Linear(dim, dim, bias=False)

    def panels(self, x: Tensor) -> list[Panel]:
        """The attention of the first heads in the first sequence."""
        query, latent, rotated = self._split(self.project_in(x[:1, :SHOWN_TOKENS]), 0)
        key, _ = self._expanded(latent, rotated)
        return [softmax_panel(query, key, scale=self.scale)]

    def _split(self, projected: Tensor, position: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries ``(b, h, t, k + n)``, latent vectors ``(b, 1, t, latent)`` and rotated keys ``(b, 1, t, n)``."""
        kept = self.latent + self.rotary
        query, latent, rotated = projected.split([projected.shape[-1] - kept, self.latent, self.rotary], dim=-1)
        if self.query_norm is not None and self.expand_query is not None:
            query = self.expand_query(_normed(self.query_norm, query))
        query = query.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        latent, rotated = _normed(self.latent_norm, latent)[:, None], rotated[:, None]
        if self.rotary:
            plain, turned = query.split([self.size, self.rotary], dim=-1)
            turned, rotated = rotate_pair(turned, rotated, position)
            query = torch.cat([plain, turned], dim=-1)
        return query, latent, rotated

    def _expanded(self, latent: Tensor, rotated: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values of all heads."""
        both = self.expand(latent[:, 0]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = both.chunk(2, dim=-1)
        return torch.cat([key, rotated.expand(-1, self.heads, -1, -1)], dim=-1), value

    def _attend(self, projected: Tensor, past: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        query, latent, rotated = self._split(projected, tokens_so_far(past))
        seen = {"latent": extended(past, "latent", latent), "key": extended(past, "key", rotated)}
        if past:
            return merge_heads(self._absorbed(query, seen["latent"], seen["key"])), seen
        key, value = self._expanded(latent, rotated)
        return merge_heads(attend(query, key, value, scale=self.scale)), seen

    def _absorbed(self, query: Tensor, latent: Tensor, rotated: Tensor) -> Tensor:
        """The same without the keys and values of the tokens so far: all heads read one head of latent vectors."""
        of_key, of_value = self.expand.weight.to(query.dtype).unflatten(0, (self.heads, 2, self.size)).unbind(1)
        plain, turned = query.split([self.size, self.rotary], dim=-1)
        query, key = torch.cat([plain @ of_key, turned], dim=-1), torch.cat([latent, rotated], dim=-1)
        return attend(query, key, latent, scale=self.scale) @ of_value.mT


def _normed(norm: nn.RMSNorm, x: Tensor) -> Tensor:
    # Under autocast what was projected is narrower than the weight, which would cost the norm its fused form.
    return F.rms_norm(x, x.shape[-1:], norm.weight.to(x.dtype), norm.eps)


def _check_widths(latent: int, query_latent: int | None, rotary: int) -> None:
    for name, value in {"latent": latent, "query_latent": query_latent}.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be 1 or more, not {value}")
    if rotary < 0 or rotary % 2:
        raise ValueError(f"rotary={rotary} cannot be cut into pairs that turn; choose an even number, or 0 for none")
