"""Small models with any residual scheme."""

import torch
from torch import nn

from zoo import TokenMixer, build_model
from zoo.plugin.registry import Entry, Origin, Plugin, Registry, get_registry

VOCABULARY, DIM = 11, 8

SCHEMES = [
    "pre-norm", "pre-norm(norm=layer)", "pre-norm(norm=none, scale=none)", "pre-norm(scale=learned)",
    "pre-norm(scale=learned, initial_scale=0)", "post-norm", "post-norm(norm=layer)", "sandwich",
    "sandwich(norm_reads=false)", "parallel", "embedding-skip", "dense", "hyper-connections",
    "hyper-connections(streams=3, dynamic=false)", "mhc", "mhc(streams=2, iterations=5)", "attention-residuals",
    "attention-residuals(block=3)",
]  # fmt: skip


class Decays(TokenMixer):
    """A decaying mean behind a projection, which streams."""

    def __init__(self, dim):
        super().__init__()
        self.project = nn.Linear(dim, dim, bias=False)

    def forward(self, x):
        return self.step(x)[0]

    def step(self, x, state=None):
        total = torch.zeros_like(x[:, 0]) if state is None else state
        writes = []
        for value in self.project(x).unbind(1):
            total = 0.5 * total + value
            writes.append(total)
        return torch.stack(writes, dim=1), total


ORIGIN = Origin("acme-mixers", "1.2", "acme")
REGISTRY = Registry([*get_registry().plugins, Plugin(ORIGIN, (Entry("decays", Decays, ORIGIN),))])
PATTERN = "decays + decays, decays/none, decays"


def build(residual, *, seed=0, pattern=PATTERN, registry=REGISTRY, **settings):
    """The parts have the same parameters with every scheme."""
    torch.manual_seed(seed)
    sizes = {"vocab_size": VOCABULARY, "dim": DIM, "context": 12, "channel_mixer": "mlp(expansion=2)"} | settings
    return build_model(pattern, residual=residual, registry=registry, **sizes)


def perturbed(model):
    """The same model in float64, with noise on every parameter: nothing is zero, and no two streams are equal."""
    generator = torch.Generator().manual_seed(3)
    model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def draw(rows=2, length=7, seed=1):
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))
