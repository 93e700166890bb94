"""The law of `backward`: whatever takes part in a write learns from it."""

import torch
from torch import Tensor

from zoo.contract import Mixed, TokenMixer
from zoo.testing.running import drawn, evaluating, other_reads, write
from zoo.testing.violation import LawViolation, where

DRAWS = 8
LONGEST = 64
READS = "the reads"


def check_gradients(mixer: TokenMixer, reads: Tensor) -> None:
    """Gradients are finite, and reach the reads and every parameter for some parameters and reads.

    A gradient may be zero at one point: a top-k router leaves experts out, a unit is off, a lag is longer than the
    sequence. So other points are tried, and longer sequences, and only what none of them reaches is told.
    """
    unreached = {name for name, value in mixer.named_parameters() if value.requires_grad and value.numel()}
    if _depends_on_reads(mixer, reads):
        unreached.add(READS)
    for draw in range(DRAWS):
        length = max(reads.shape[1], min(reads.shape[1] * 2**draw, LONGEST))
        longer = reads.repeat(1, -(-length // reads.shape[1]), 1)[:, :length]
        unreached -= _reached(drawn(mixer, seed=draw).train(), other_reads(longer, seed=draw))
        if not unreached:
            return
    raise LawViolation("gradients", f"no gradient reaches {', '.join(sorted(unreached))} {where(reads, mixer)}")


def _reached(running: TokenMixer, reads: Tensor) -> set[str]:
    """The names of what gets a gradient other than zero."""
    asked: dict[str, Tensor] = {name: value for name, value in running.named_parameters() if value.requires_grad}
    asked[READS] = reads.requires_grad_()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        mixed = Mixed.of(running(reads))
    objective = sum(mixed.losses.values(), start=(mixed.out * other_reads(mixed.out.detach(), seed=5)).sum())
    if not objective.requires_grad:
        return set()
    gradients = torch.autograd.grad(objective, list(asked.values()), allow_unused=True)
    got = {name: gradient for name, gradient in zip(asked, gradients, strict=True) if gradient is not None}
    for name, gradient in got.items():
        if not gradient.isfinite().all():
            raise LawViolation("gradients", f"the gradient of {name} is not finite {where(reads, running)}")
    return {name for name, gradient in got.items() if gradient.any()}


def _depends_on_reads(mixer: TokenMixer, reads: Tensor) -> bool:
    running = evaluating(drawn(mixer))
    return not torch.equal(write(running, reads), write(running, other_reads(reads)))
