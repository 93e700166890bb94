"""Leviathan mixture of experts: each token is mixed by a few correlation experts of its own choice."""

from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixers.layers.float32 import KeepsFloat32
from mixers.ops.attention import head_size, merge_heads
from mixers.ops.attention_weights import gates_by_expert
from mixers.ops.documents import by_document
from mixers.ops.expert_attention import attend_alone, attend_few, expert_attention, rotate_rows
from mixers.ops.experts import Dispatch, balance_loss, count_choices, dispatch, entropy, grouped_linear, route, z_loss
from mixers.ops.growing import append
from mixers.ops.lagged_keys import combine_lags
from mixers.ops.rotary import rotate
from zoo import Mixed, Panel, State, TokenMixer

SHOWN_HEADS = 4
"""So many heads are shown of the lag weights."""

FEW = 8
"""Pieces of so many tokens and fewer are mixed by their scores, in one pass over the keys."""


class _Memory(NamedTuple):
    """Keys and values of all tokens, ``(b, kv_heads, s, k)``, and the position of the first query, ``(b,)``."""

    key: Tensor
    value: Tensor
    position: Tensor


class LeviathanMoE(KeepsFloat32, TokenMixer):
    """A sparse mixture of correlation experts, which share keys and values and differ in what they ask for.

        u_t = W_r x_t        chosen = the top_k largest of u_t + bias        g = softmax of u_t over the chosen
        y_t^e = sum_s softmax_s( sum_l w_l^e < W_q^e x_t , k_{s-l} > * k**-0.5 ) v_s     over  s <= t, l = 0..max_lag
        write_t = W_out^0 y_t^0 + sum_{e chosen} g_e W_out^e y_t^e

    Expert e has a query projection W_q^e, lag weights w^e and an output projection W_out^e; expert 0 is the shared one,
    which every token uses, and stands last in the parameters. The lag weights are by key head, with w_0 = 1 and the
    others learned, starting at zero: `lag_weight`, ``(experts, kv_heads, max_lag)``, holds the lags 1, ..., max_lag.
    Keys are delayed first and rotated where they land. Every token chooses by its own read alone, and no choice is ever
    dropped, so that neither the future nor the other rows of the batch have a say in it.

    Options:
        experts: how many to choose from.
        top_k: how many a token uses beside the shared one. With 1 the gate is always 1, and the router learns from
            its losses alone.
        shared_expert: add an expert that every token uses with gate 1.
        max_lag: the largest lag of a key, in tokens.
        heads: query heads of each expert; they divide dim.
        kv_heads: heads of keys, values and lag weights, each shared by heads / kv_heads query heads; None for as many
            as heads.
        rope: rotary positions, angles in float32 at least.
        balance: what keeps experts from starving: "bias" adds a bias to the choice (not to the gates) and nudges it
            between steps, without a gradient: up where an expert was chosen by fewer tokens of the step than the mean,
            down where by more. The bias stays in float32 when the module is cast to half precision. "loss" adds the
            balancing loss of Switch, which is that of a micro-batch.
        bias_rate: by how much a step moves the bias, with balance="bias".
        balance_weight: of the balancing loss, with balance="loss".
        z_weight: of the loss that keeps the router's logits small.

    Cost: with r = top_k + shared experts a token, the attention of r dot-product mixers and ``2 * r * t * d**2``
    multiplications for their projections; parameters grow with experts, time does not. `active_parameters` counts
    those that one token uses. State: rotated keys and values, ``2 * t * kv_heads * k`` numbers, as of one mixer.
    The attention of packed documents costs what that of each costs alone.

    Raises:
        ValueError: top_k that is not from 1 to experts, a negative max_lag, weight or rate, heads that do not divide
            dim, kv_heads that do not divide heads, an odd head size with rope.

    Source: attention experts over shared keys and values: MoA, Zhang et al. 2022, arXiv:2210.05144, and JetMoE,
    arXiv:2404.07413. Balance by bias: arXiv:2408.15664; by loss: Switch, arXiv:2101.03961. z-loss: ST-MoE,
    arXiv:2202.08906. The experts are those of `correlation`.
    """

    paper: ClassVar[str] = "after Zhang et al. 2022 (MoA), arXiv:2210.05144"
    # In half precision a bias of 1 would lose its steps of 0.001.
    in_float32: ClassVar[frozenset[str]] = frozenset({"choice_bias"})

    def __init__(
        self,
        dim: int,
        *,
        experts: int = 8,
        top_k: int = 2,
        shared_expert: bool = True,
        max_lag: int = 3,
        heads: int = 4,
        kv_heads: int | None = None,
        rope: bool = True,
        balance: Literal["bias", "loss"] = "bias",
        bias_rate: float = 1e-3,
        balance_weight: float = 1e-2,
        z_weight: float = 1e-4,
    ) -> None:
        super().__init__()
        rates = {"bias_rate": bias_rate, "balance_weight": balance_weight, "z_weight": z_weight}
        _check_ranges(experts, top_k, max_lag, **rates)
        self.heads, self.kv_heads, self.rope = heads, heads if kv_heads is None else kv_heads, rope
        self.size = head_size(dim, heads, self.kv_heads, rope)
        self.experts, self.top_k, self.shared_expert = experts, top_k, shared_expert
        self.balance, self.bias_rate = balance, bias_rate
        self.balance_weight, self.z_weight = balance_weight, z_weight
        every = experts + shared_expert
        self.router = nn.Linear(dim, experts, bias=False)
        self.project_key_value = nn.Linear(dim, 2 * self.kv_heads * self.size, bias=False)
        self.project_query = nn.Parameter(torch.empty(every, dim, dim))
        self.project_out = nn.Parameter(torch.empty(every, dim, dim))
        self.lag_weight = nn.Parameter(torch.empty(every, self.kv_heads, max_lag)) if max_lag else None
        self.register_buffer("choice_bias", torch.empty(experts))
        self.reset_parameters()

    choice_bias: Tensor

    def reset_parameters(self) -> None:
        """Draw the experts' projections as `nn.Linear` draws its own, and start lags and bias at zero."""
        bound = self.project_query.shape[-1] ** -0.5
        nn.init.uniform_(self.project_query, -bound, bound)
        nn.init.uniform_(self.project_out, -bound, bound)
        nn.init.zeros_(self.choice_bias)
        if self.lag_weight is not None:
            nn.init.zeros_(self.lag_weight)

    @property
    def active_parameters(self) -> int:
        """How many parameters one token uses."""
        idle = self.experts - self.top_k
        stacks = [stack for stack in (self.project_query, self.project_out, self.lag_weight) if stack is not None]
        return sum(p.numel() for p in self.parameters()) - sum(idle * stack[0].numel() for stack in stacks)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Mixed:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself.

        Losses, over all tokens: ``z``, and ``balance`` with balance="loss". Metrics: ``tokens_per_expert``, how many
        tokens chose each expert, ``(experts,)``; ``load``, the same as shares of all choices; ``entropy`` of the
        router's probabilities, in nats; ``dead``, how many experts no token chose.
        """
        out, _, logits, counts = self._mix(x, None, documents)
        load = counts.to(logits.dtype) / (x.shape[0] * x.shape[1] * self.top_k)
        losses = {"z": self.z_weight * z_loss(logits)} if self.z_weight else {}
        if self.balance == "loss":
            losses["balance"] = self.balance_weight * balance_loss(logits, load)
        dead = (counts == 0).to(load.dtype).sum()  # no whole number: those add up over micro-batches
        metrics = {"tokens_per_expert": counts, "load": load, "entropy": entropy(logits).detach(), "dead": dead}
        return Mixed(out, losses, metrics)

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds the rotated keys, the values and the position."""
        out, state, _, _ = self._mix(x, state)
        return out, state

    def after_update(self, metrics: Mapping[str, Tensor]) -> None:
        """Make the experts that were chosen too rarely in this step a little more likely, the others less."""
        if self.balance == "bias" and "tokens_per_expert" in metrics:
            counts = metrics["tokens_per_expert"].to(self.choice_bias.device)
            # In whole numbers: the mean of equal shares may differ from them by rounding, which has a sign.
            below_mean = torch.sign(counts.sum() - self.experts * counts)
            self.choice_bias += self.bias_rate * below_mean.to(self.choice_bias)

    def panels(self, x: Tensor) -> list[Panel]:
        """Who is chosen along the first sequence, and the lag weights of the experts."""
        gates = gates_by_expert(*self._choose(x[:1])[:2], self.experts)[0].T
        reading = f"A column is a token: the gates of its {self.top_k} experts, 1 in all, and 0 for the others."
        panels = [Panel("experts along the first sequence", reading, gates, "gate", ("expert", "position (token)"))]
        if self.lag_weight is not None:
            weights = self.lag_weight.transpose(0, 1)[:SHOWN_HEADS]
            names = [str(expert) for expert in range(self.experts)] + ["shared"] * self.shared_expert
            reading = "A row is an expert: the factors on the keys of each lag, where lag 0 has 1."
            lags = [str(lag) for lag in range(1, weights.shape[-1] + 1)]
            axes = ("key head", "expert", "lag (tokens)")
            panels.append(Panel("weight by expert and lag", reading, weights, "weight", axes, ((), names, lags)))
        return panels

    def _mix(
        self, x: Tensor, state: State | None, documents: Tensor | None = None
    ) -> tuple[Tensor, State, Tensor, Tensor]:
        position = x.new_zeros(x.shape[0], dtype=torch.int64) if state is None else state["position"]
        expert, gate, logits = self._choose(x)
        if documents is not None:
            return self._ask_documents(x, documents, expert, gate), None, logits, count_choices(expert, self.experts)
        memory = _Memory(*self._keys(x, position, state), position)
        out = (self._ask_few if x.shape[1] <= FEW else self._ask_many)(x, memory, expert, gate)
        following = {"key": memory.key, "value": memory.value, "position": position + x.shape[1]}
        return out, following, logits, count_choices(expert, self.experts)

    def _choose(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Each token's experts and their gates, ``(b, t, top_k)``, and what the router said of all, ``(b, t, e)``."""
        weight = self.router.weight
        # in half precision close choices would fall by rounding
        wide = torch.promote_types(weight.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            logits = F.linear(x.to(wide), weight.to(wide))
        expert, gate = route(logits, self.top_k, self.choice_bias if self.balance == "bias" else None)
        return expert, gate, logits

    def _ask_many(self, x: Tensor, memory: _Memory, expert: Tensor, gate: Tensor) -> Tensor:
        """What the chosen experts and the shared one write, ``(b, t, d)``."""
        weights = self._lags(memory.key)
        rows = dispatch(expert, self.experts)
        query = self._queries(x, memory.position, rows).to(memory.key.dtype)
        mixed = expert_attention(query, memory.key, memory.value, weights[: self.experts], rows, rope=self.rope)
        out = self._gather(mixed, rows, gate)
        if not self.shared_expert:
            return out
        return out + self._ask_shared(x, memory._replace(key=combine_lags(memory.key, weights[-1], self.rope)))

    def _ask_few(self, x: Tensor, memory: _Memory, expert: Tensor, gate: Tensor) -> Tensor:
        """The same for short pieces."""
        expert, gate = self._with_shared(expert, gate)
        rows = dispatch(expert, len(self.project_query))
        query = self._queries(x, memory.position, rows).to(memory.key.dtype)
        by_slot = query[rows.place].unflatten(0, expert.shape)
        mixed = attend_few(by_slot, memory.key, memory.value, self._lags(memory.key)[expert], self.rope)
        return self._gather(mixed.flatten(0, 2)[rows.order], rows, gate)

    def _ask_documents(self, x: Tensor, documents: Tensor, expert: Tensor, gate: Tensor) -> Tensor:
        """The same for packed rows, where attention alone looks beyond its token."""
        expert, gate = self._with_shared(expert, gate)
        rows = dispatch(expert, len(self.project_query))
        query = self._projected(x, rows)[rows.place].unflatten(0, expert.shape)
        mixed = by_document(self._attend, documents, self.project_key_value(x), expert, query)
        return self._gather(mixed.flatten(0, 2)[rows.order], rows, gate)

    def _attend(self, key_value: Tensor, expert: Tensor, query: Tensor) -> Tensor:
        """What experts read in whole sequences, from queries not yet rotated: ``(b, t, r, heads, k)`` to the same."""
        rows, start = dispatch(expert, len(self.project_query)), expert.new_zeros(len(expert))
        key, value = self._split(key_value, start)
        queries = query.flatten(0, 2)[rows.order]
        queries = (rotate_rows(queries, start, rows) if self.rope else queries).to(key.dtype)
        mixed = expert_attention(queries, key, value, self._lags(key), rows, rope=self.rope)
        return mixed[rows.place].unflatten(0, expert.shape)

    def _with_shared(self, expert: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        """The experts of each token and their gates, the shared expert as one more that every token chose."""
        if not self.shared_expert:
            return expert, gate
        return F.pad(expert, (0, 1), value=self.experts), F.pad(gate, (0, 1), value=1.0)

    def _gather(self, mixed: Tensor, rows: Dispatch, gate: Tensor) -> Tensor:
        """Send each row, ``(m, h, v)``, through its expert's output, and add up those of a token by their gates."""
        counts = rows.counts.sum(1)
        written = grouped_linear(mixed.flatten(1), self.project_out[: len(counts)], counts)
        by_slot = written.index_select(0, rows.place).unflatten(0, gate.shape)
        return torch.einsum("btr,btrd->btd", gate.to(by_slot.dtype), by_slot)

    def _ask_shared(self, x: Tensor, memory: _Memory) -> Tensor:
        """What the shared expert, which lies behind the others, writes: it sees all tokens, so nothing is sorted."""
        query = F.linear(x, self.project_query[-1]).unflatten(-1, (self.heads, self.size)).transpose(1, 2)
        query = rotate(query, memory.position) if self.rope else query
        mixed = attend_alone(query, memory.key, memory.value)
        return F.linear(merge_heads(mixed), self.project_out[-1])

    def _keys(self, x: Tensor, position: Tensor, state: State | None) -> tuple[Tensor, Tensor]:
        """All keys so far, each rotated at its own position, and all values, ``(b, kv_heads, s, k)``."""
        key, value = self._split(self.project_key_value(x), position)
        return (key, value) if state is None else (append(state["key"], key), append(state["value"], value))

    def _split(self, key_value: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """The keys, rotated, and the values of one projection: ``(b, kv_heads, t, k)`` both."""
        key, value = key_value.unflatten(-1, (2, self.kv_heads, self.size)).permute(2, 0, 3, 1, 4)
        return rotate(key, position) if self.rope else key, value

    def _queries(self, x: Tensor, position: Tensor, rows: Dispatch) -> Tensor:
        """The query of each row, ``(m, heads, k)``, rotated at its token's position."""
        query = self._projected(x, rows)
        return rotate_rows(query, position, rows) if self.rope else query

    def _projected(self, x: Tensor, rows: Dispatch) -> Tensor:
        """The query of each row, ``(m, heads, k)``, by the matrix of its expert."""
        counts = rows.counts.sum(1)
        query = grouped_linear(x.flatten(0, 1).index_select(0, rows.token), self.project_query[: len(counts)], counts)
        return query.unflatten(-1, (self.heads, self.size))

    def _lags(self, key: Tensor) -> Tensor:
        """The weights of all lags, that of lag zero included, ``(experts, kv_heads, l)``."""
        if self.lag_weight is None:
            return key.new_ones(len(self.project_query), self.kv_heads, 1)
        return F.pad(self.lag_weight, (1, 0), value=1.0)


def _check_ranges(experts: int, top_k: int, max_lag: int, **rates: float) -> None:
    if not 1 <= top_k <= experts:
        raise ValueError(f"top_k={top_k} should be from 1 to experts={experts}")
    if max_lag < 0:
        raise ValueError(f"max_lag={max_lag} would look ahead; choose 0 or more")
    for name, value in rates.items():
        if value < 0:
            raise ValueError(f"{name}={value} should be 0 or more")
