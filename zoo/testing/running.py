"""How a mixer is run to be judged: on copies, with parameters and reads drawn from seeds of their own."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from zoo.backbone import Backbone
from zoo.contract import Mixed, State, TokenMixer

FIRST_SEED = 987_654_321
"""Far from the seeds that people choose, so that other reads are never by chance the ones that a person drew."""


class WholeModel(TokenMixer):
    """A language model seen as a mixer that reads tokens, ``(b, t)``, and writes logits, ``(b, t, vocabulary)``.

    Causality, prefix, batch independence and streaming are laws of the whole as they are of its parts.
    """

    def __init__(self, model: Backbone) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Mixed:
        """The logits for whole sequences of tokens, and the mixers' losses and metrics."""
        logits, _, losses, metrics = self.model(x)
        return Mixed(logits, losses, metrics)

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The logits for the next tokens."""
        return self.model.step(x, state)


def drawn(mixer: TokenMixer, seed: int = 0) -> TokenMixer:
    """A copy with noise on every parameter, so that nothing hides behind one that starts at zero.

    A router whose weights are all zero ties all its experts, and how a tie is broken may depend on the sizes; a
    projection that starts at zero writes nothing that a law could judge.
    """
    generator = torch.Generator().manual_seed(seed)
    mixer = copy.deepcopy(mixer)
    with torch.no_grad():
        for parameter in mixer.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.2 * noise.to(parameter))
    return mixer


def other_reads(reads: Tensor, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Finite reads of the same shape that have nothing to do with `reads`; tokens where those are tokens."""
    generator = torch.Generator().manual_seed(FIRST_SEED + seed)
    if not reads.is_floating_point():
        return torch.randint(int(reads.max()) + 1, reads.shape, generator=generator).to(reads)
    return (scale * torch.randn(reads.shape, generator=generator, dtype=torch.float64)).to(reads)


@torch.no_grad()
def write(mixer: TokenMixer, reads: Tensor) -> Tensor:
    """What the mixer writes for whole sequences."""
    return Mixed.of(mixer(reads)).out


def evaluating(mixer: TokenMixer) -> TokenMixer:
    """A copy in evaluation mode."""
    return copy.deepcopy(mixer).eval()


def modes(mixer: TokenMixer, reads: Tensor) -> Iterator[TokenMixer]:
    """Copies of the mixer in evaluation mode, and in training mode unless it draws random numbers there.

    Training counts, because statistics of a batch leak only there.
    """
    yield evaluating(mixer)
    training = copy.deepcopy(mixer).train()
    written = []
    with torch.random.fork_rng(devices=[]):
        for seed in (0, 1):
            torch.manual_seed(seed)
            written.append(write(training, reads))
    if torch.equal(*written):
        yield training
