"""How a mixer is run to be judged: on copies, with parameters and reads drawn from seeds of their own."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from zoo.contract import Mixed, State, TokenMixer

FIRST_SEED = 987_654_321
"""Far from the seeds that users choose, so that other reads are never by chance those that were drawn."""


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
def write(mixer: TokenMixer, reads: Tensor, seed: int = 0) -> Tensor:
    """What the mixer writes for whole sequences, under a seed: what it draws is the same for reads of one shape."""
    with seeded(seed):
        return Mixed.of(mixer(reads), mixer).out.clone()


def streams(member: nn.Module) -> bool:
    """Whether it has a state and can be decoded incrementally: a causal token mixer."""
    return isinstance(member, TokenMixer) and member.causal


def stepped(mixer: TokenMixer, reads: Tensor, state: State | None = None, **host: Any) -> tuple[Tensor, State]:
    """The writes and the state of one step, whether it returned plain writes or a `Mixed`."""
    written, state = mixer.step(reads, state, **host)
    return Mixed.of(written, mixer).out, state


def evaluating(mixer: TokenMixer) -> TokenMixer:
    """A copy in evaluation mode."""
    return copy.deepcopy(mixer).eval()


def modes(mixer: TokenMixer, reads: Tensor) -> Iterator[TokenMixer]:
    """Copies of the mixer in evaluation mode, and in training mode unless it draws random numbers there.

    Training counts, because statistics of a batch leak only there.
    """
    yield evaluating(mixer)
    training = copy.deepcopy(mixer).train()
    if torch.equal(write(training, reads, seed=0), write(training, reads, seed=1)):
        yield training


def both_modes(mixer: TokenMixer) -> Iterator[TokenMixer]:
    """Copies in evaluation and in training mode, for reads of one shape, for which random numbers are the same."""
    yield evaluating(mixer)
    yield copy.deepcopy(mixer).train()


def in_dtype(reads: Tensor, dtype: torch.dtype) -> Tensor:
    """Reads in another dtype; tokens stay what they are."""
    return reads.to(dtype) if reads.is_floating_point() else reads


@contextmanager
def one_thread() -> Iterator[None]:
    """Run on one thread: small tensors gain nothing from more, and what threads share out they round otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run under a seed of the global random numbers, and put them back."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed, where CUDA is not initialised, keeps a formatted stack for later at every call: most of the
        # time of a law that seeds often.
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)
        yield


def objective(mixed: Mixed) -> Tensor:
    """One number to differentiate: the writes in a fixed random direction, and the auxiliary losses."""
    direction = other_reads(mixed.out.detach(), seed=5)
    return sum(mixed.losses.values(), start=(mixed.out * direction).sum())


def in_pieces(mixer: TokenMixer, reads: Tensor, cuts: Sequence[int]) -> Tensor:
    """The writes of `step`, joined, for pieces that end at each of the cuts and at the end."""
    state, written = None, []
    for start, end in pairwise((0, *cuts, reads.shape[1])):
        piece, state = stepped(mixer, reads[:, start:end], state)
        written.append(piece)
    return torch.cat(written, dim=1)


def chunk_sizes(time: int, cuts: Sequence[int]) -> str:
    """The sizes of the chunks, in words."""
    sizes = [end - start for start, end in pairwise((0, *cuts, time))]
    if len(sizes) > 3 and len(set(sizes)) == 1:
        return str(sizes[0])
    return ", ".join(map(str, sizes))
