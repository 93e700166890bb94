"""The candidates of a benchmark: the layers of each pattern, and plain attention as their baseline."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.contract import TokenMixer
from zoo.errors import UsageError, ZooError
from zoo.lab.bench.request import Request
from zoo.model.backbone import Backbone
from zoo.model.build import build_model, build_seeded
from zoo.model.faults import describe_error
from zoo.model.layer import Layer, NamedMixer
from zoo.model.members import create_residual
from zoo.model.parameters import count_active_parameters, count_parameters
from zoo.model.stack import Stack, States, site_roles
from zoo.plugin.pattern import parse
from zoo.residual import Residual


class Named(Protocol):
    """What has a name in tables and plots."""

    @property
    def name(self) -> str:
        """As it is shown."""


T = TypeVar("T", bound=Named)

PLAIN = "plain sdpa"
"""The name of the baseline."""


class PlainAttention(TokenMixer):
    """Causal attention as plainly as torch has it: one projection, one fused call, one projection."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project_in = nn.Linear(dim, 3 * dim, bias=False)
        self.project_out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``."""
        query, key, value = self._project(x)
        return self._join(F.scaled_dot_product_attention(query, key, value, is_causal=True))

    def step(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Mix the next reads; the state is the keys and the values so far, ``(b, h, s, k)`` each."""
        query, key, value = self._project(x)
        if state is None:
            return self._join(F.scaled_dot_product_attention(query, key, value, is_causal=True)), (key, value)
        key, value = torch.cat([state[0], key], dim=2), torch.cat([state[1], value], dim=2)
        mask = None
        if x.shape[1] > 1:
            past = key.shape[2] - x.shape[1]
            mask = torch.ones(x.shape[1], key.shape[2], dtype=torch.bool, device=x.device).tril(past)
        return self._join(F.scaled_dot_product_attention(query, key, value, attn_mask=mask)), (key, value)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self.project_in(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return query, key, value

    def _join(self, mixed: Tensor) -> Tensor:
        return self.project_out(mixed.transpose(1, 2).flatten(2))


class Candidate(Stack):
    """Layers on a residual stream, without embedding and unembedding.

    Args:
        name: in tables and plots.
        layers: in the order of the stream.
        residual: the scheme, whole: what it does at both ends of the stream is measured too.
        max_length: the longest sequence that they take, None for any.
        rebuild: gives the same for sequences of so many tokens, where the size of a part follows from that; None
            where `max_length` is all that they ever take.
    """

    def __init__(
        self,
        name: str,
        layers: Sequence[Layer],
        residual: Residual,
        max_length: int | None = None,
        rebuild: "Callable[[int], Candidate] | None" = None,
    ) -> None:
        super().__init__()
        self.name, self.max_length, self._rebuild = name, max_length, rebuild
        self.set_layers(layers, residual)

    @property
    def parameters_bytes(self) -> int:
        """Bytes of the parameters that one token uses."""
        size = next((parameter.element_size() for parameter in self.parameters()), 0)
        return count_active_parameters(self) * size

    def describe(self) -> dict[str, object]:
        """What there is to tell of it, of JSON's types."""
        return {
            "name": self.name,
            "layers": len(self.layers),
            "parameters": count_parameters(self),
            "active_parameters": count_active_parameters(self),
        }

    def for_length(self, tokens: int) -> "Candidate":
        """This candidate, or one of its kind that takes so many tokens.

        Raises:
            UsageError: there is none.
        """
        if self.max_length is None or tokens <= self.max_length:
            return self
        if self._rebuild is None:
            raise UsageError(f"it takes at most {self.max_length:,} tokens")
        return self._rebuild(tokens)

    def forward(self, embedded: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What comes out of the stream, ``(b, t, d)``, and the auxiliary losses of the parts."""
        ran = self.run_layers(embedded)
        return ran.out, list(ran.losses.values())

    def step(self, embedded: Tensor, states: States | None = None) -> tuple[Tensor, States]:
        """What comes out of the stream of the next piece, ``(b, t, d)``, and the states after it."""
        return self.step_layers(embedded, states)


def plain_attention(request: Request, device: torch.device) -> Candidate:
    """The baseline: one layer of `PlainAttention`."""
    mixer = build_seeded(request.seed, lambda: PlainAttention(request.dim, request.heads))
    layers = [Layer([NamedMixer("plain", mixer)], None)]
    residual = create_residual(request.residual, dim=request.dim, layers=1, roles=site_roles(layers))
    return Candidate(PLAIN, layers, residual).to(device)


def build_candidates(request: Request, device: torch.device) -> tuple[list[Candidate], dict[str, str]]:
    """Plain attention and the candidates of the request, and why the others could not be built, by pattern.

    Raises:
        UsageError: none of the patterns can be built.
    """
    return build_each(
        request.patterns, lambda pattern: _build(pattern, request, device), [plain_attention(request, device)]
    )


def build_each(
    patterns: Sequence[str], build: Callable[[str], T], baselines: Sequence[T]
) -> tuple[list[T], dict[str, str]]:
    """The baselines and what is built of each pattern, and why the others could not be built, by pattern.

    Raises:
        UsageError: none of the patterns can be built, or two of them are the same.
    """
    built, failures, last = list(baselines), dict[str, str](), None
    for pattern in patterns:
        try:
            candidate = build(pattern)
        except ZooError as error:
            failures[pattern], last = describe_error(error), error
            continue
        if candidate.name in {other.name for other in built}:
            raise UsageError(f"PATTERN: {candidate.name} is given twice; once is enough")
        built.append(candidate)
    if failures and len(failures) == len(patterns):
        if len(failures) == 1 and last is not None:
            raise last
        reasons = "; ".join(f"{pattern!r}: {reason}" for pattern, reason in failures.items())
        raise UsageError(f"none of the {len(failures)} patterns can be built: {reasons}")
    return built, failures


def _build(pattern: str, request: Request, device: torch.device, context: int = 1) -> Candidate:
    """A candidate that is built for so many tokens: for one at first, so that a length that is too long fails alone."""

    def build() -> Backbone:
        return build_model(
            pattern,
            vocab_size=2,
            dim=request.dim,
            heads=request.heads,
            context=context,
            channel_mixer="none",
            residual=request.residual,
        )

    model = build_seeded(request.seed, build)
    grows = model.max_length == context
    rebuild = partial(_build, pattern, request, device) if grows else None
    layers = list(model.each_layer())
    return Candidate(str(parse(pattern)), layers, model.residual, model.max_length, rebuild).to(device)
