"""Gated slot attention: softmax attention to a bounded number of slots."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, silu

from mixers.layers.grouped_norm import GroupedNorm
from mixers.layers.state_panel import decay_panel
from mixers.ops.activations import at_least_float32
from mixers.ops.attention import head_size
from mixers.ops.slots import abc, gsa
from zoo import Panel, State, TokenMixer

NORMALIZER = 8.0
"""Log gates are divided by it, so that decays at the start lie near 1."""


class GSA(TokenMixer):
    """Softmax attention to m slots a head, each of which holds a key and a value that decay and are written to.

        q, k, v = silu(W_q x), silu(W_k x), silu(W_v x)        w = log sigmoid(W_f x) / 8        s = 1 - exp(w)
        K_t = K_{t-1} Diag(exp(w_t)) + k_t s_t^T        V_t = Diag(exp(w_t)) V_{t-1} + s_t v_t^T
        write_t = W_out rms norm(silu(V_t^T softmax(K_t^T q_t * k**-0.5)))

    w: a log decay a slot; s: what a slot forgets it takes of the token; k: channels a head. With abc=True a slot
    averages all tokens so far with weights exp(l), l = W_f x: s_t = exp(l_t - z_t) and w_t = z_{t-1} - z_t, where
    z_t = log sum_{r <= t} exp(l_r). That is attention with bounded-memory control: it forgets ever more slowly.

    Options:
        heads: they divide dim.
        slots: m of each head; None for as many as a head has channels.
        abc: running averages in the place of gates.

    Cost: time ``t * d**2 * 5`` with as many slots as channels, and ``t * d * m`` for the slots, twice. State:
    ``2 * d * m`` numbers, and with abc=True one more a slot.

    Raises:
        ValueError: heads that do not divide dim, slots below 1.

    Source: Zhang et al. 2024, arXiv:2409.07146; abc: Peng et al. 2021, arXiv:2110.02488.
    """

    paper: ClassVar[str] = "Zhang et al. 2024, arXiv:2409.07146"

    def __init__(self, dim: int, *, heads: int = 4, slots: int | None = None, abc: bool = False) -> None:
        super().__init__()
        self.heads, self.size, self.abc = heads, head_size(dim, heads, heads, rope=False), abc
        self.slots = self.size if slots is None else slots
        if self.slots < 1:
            raise ValueError(f"slots must be 1 or more, not {slots}")
        self.project_in = nn.Linear(dim, 3 * dim + heads * self.slots, bias=False)
        self.norm = GroupedNorm(dim)
        self.project_out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, {}, documents)[0]

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds K, ``(b, h, k, m)``, V, ``(b, h, m, v)``, and z, ``(b, h, m)``."""
        return self._mix(x, {} if state is None else state, None)

    def _mix(self, x: Tensor, past: dict[str, Tensor], documents: Tensor | None) -> tuple[Tensor, State]:
        query, key, value, logits = self._split(x)
        query = query * self.size**-0.5
        if self.abc:
            held = (past["keys"], past["values"], past["total"]) if past else None
            y, (keys, values, total) = abc(query, key, value, logits, held, documents=documents)
            following = {"keys": keys, "values": values, "total": total}
        else:
            slots, w = (past["keys"], past["values"]) if past else None, self._log_decay(logits)
            y, (keys, values) = gsa(query, key, value, -w.expm1(), w, slots, documents=documents)
            following = {"keys": keys, "values": values}
        return self.project_out(self.norm(silu(y.flatten(2))).to(y.dtype)), following

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, ``(b, t, h, k)``, and what the slots are written by, ``(b, t, h, m)``."""
        dim = self.heads * self.size
        *activated, logits = self.project_in(x).split([dim, dim, dim, self.heads * self.slots], dim=-1)
        by_head = (silu(part).unflatten(-1, (self.heads, self.size)) for part in activated)
        return *by_head, at_least_float32(logits).unflatten(-1, (self.heads, self.slots))

    def _log_decay(self, logits: Tensor) -> Tensor:
        return logsigmoid(logits) / NORMALIZER

    def panels(self, x: Tensor) -> list[Panel]:
        """What each slot keeps when a token is written to it."""
        logits = self._split(x[:1])[3]
        if self.abc:
            total = logits.logcumsumexp(dim=1)
            # before the first token there is nothing to keep
            kept = torch.cat([torch.zeros_like(total[:, :1]), (total[:, :-1] - total[:, 1:]).exp()], dim=1)
        else:
            kept = self._log_decay(logits).exp()
        return [decay_panel(kept.flatten(2), of="slot")]
