"""A plain model like GPT-2, which other models are measured beside: written for this purpose, and nobody's own code."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.model.backbone import CROSS_ENTROPY, ModelOutput
from zoo.task import IGNORE

Cache = list[tuple[Tensor, Tensor]]
"""The keys and the values of each layer so far, ``(b, h, s, k)`` each."""


class PlainGPT2(nn.Module):
    """The architecture of Radford et al. 2019, as plainly as torch has it.

    Learned positions; pre-norm layers of one fused causal attention and an MLP of 4 d with GELU; biases everywhere; the
    embedding is the unembedding.

    Args:
        vocab_size: how many tokens there are.
        dim: the model width d.
        layers: how many.
        heads: of each attention.
        context: the longest sequence that it takes.
    """

    def __init__(self, vocab_size: int, *, dim: int, layers: int, heads: int, context: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, dim)
        self.positions = nn.Embedding(context, dim)
        self.blocks = nn.ModuleList(_Block(dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)
        # of the positions a token reads its own
        self.active_parameters = sum(parameter.numel() for parameter in self.parameters()) - (context - 1) * dim

    def forward(self, tokens: Tensor, targets: Tensor | None = None, where: Tensor | None = None) -> ModelOutput:
        """Predict the next token at every position, or at some; arguments and result are those of `Backbone`."""
        hidden, _ = self._run(tokens, None)
        logits = F.linear(hidden if where is None else hidden.flatten(0, 1)[where], self.embedding.weight)
        if targets is None:
            return ModelOutput(logits, None, {}, {})
        wanted = targets.flatten() if where is None else targets.flatten()[where]
        loss = F.cross_entropy(logits.flatten(0, -2).float(), wanted, ignore_index=IGNORE)
        return ModelOutput(logits, loss, {CROSS_ENTROPY: loss}, {})

    def step(self, tokens: Tensor, state: Cache | None = None) -> tuple[Tensor, Cache]:
        """Predict from the next piece of a sequence, ``(b, t)``: a prompt, or a single token after one.

        Returns:
            The logits at its last token, ``(b, 1, vocabulary)``, and the cache.
        """
        hidden, state = self._run(tokens, state)
        return F.linear(hidden[:, -1:], self.embedding.weight), state

    def _run(self, tokens: Tensor, past: Cache | None) -> tuple[Tensor, Cache]:
        start = past[0][0].shape[2] if past else 0
        places = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        x, cache = self.embedding(tokens) + self.positions(places), []
        for index, block in enumerate(self.blocks):
            x, kept = block(x, past[index] if past else None)
            cache.append(kept)
        return self.norm(x), cache


class _Block(nn.Module):
    """A layer: ``x <- x + attention(norm(x))``, ``x <- x + mlp(norm(x))``."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.project_in, self.project_out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(approximate="tanh"), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        projected = self.project_in(self.norm_attention(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=past is None)
        x = x + self.project_out(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm_mlp(x)), (key, value)
