"""The laws of the residual stream: the host normalises what is read and adds what is written, a mixer does neither."""

import copy
from collections.abc import Iterator

import torch

from zoo.contract import TokenMixer
from zoo.testing.case import Case
from zoo.testing.law import law
from zoo.testing.running import evaluating, other_reads, write
from zoo.testing.violation import LawViolation, NotApplicable, first_difference


@law(
    "no-residual",
    bug="`return x + out` copied from another code base: the stream doubles at every layer, and an ablation that "
    "takes the mixer out compares two models of different depth.",
    alone=True,
)
def no_residual(case: Case) -> None:
    """A mixer does not add its read to its write: nothing that is set to zero turns the write into the read."""
    # An output projection set to zero leaves what was added beside it. A mixer without parameters (the identity, say)
    # cannot be distinguished from a residual, nor need it be.
    reads = case.reads if case.reads.shape[1] > 1 else case.longer(2)
    if not any(parameter.ndim > 1 for parameter in case.mixer.parameters()):
        raise NotApplicable("without a matrix to set to zero a mixer cannot be distinguished from a residual")
    if not first_difference(write(evaluating(case.mixer), reads), reads):
        raise NotApplicable("it writes its read, whatever its parameters")
    for name, running in _silenced(evaluating(case.mixer)):
        if not first_difference(write(running, reads), reads):
            raise LawViolation(f"with {name} at zero the write is the read: it adds its read {case.where(reads)}")


@torch.no_grad()
def _silenced(mixer: TokenMixer) -> Iterator[tuple[str, TokenMixer]]:
    """Copies in which the parameters of one module are zero, for each module that has a matrix."""
    # A vector at zero may well mean "as it was": a decay, a share of the token before.
    for name, part in mixer.named_modules():
        if any(parameter.ndim > 1 for parameter in part.parameters(recurse=False)):
            silent = copy.deepcopy(mixer)
            for parameter in silent.get_submodule(name).parameters(recurse=False):
                parameter.zero_()
            yield name or "its own parameters", silent


UNCHANGED = 1e-4
"""Norms add a small constant to what they divide by, so that what they hide is not hidden to the last digit."""


@law(
    "no-normalisation",
    bug="A second RMSNorm inside the mixer: two gains that fight each other, and a comparison in which one mixer has "
    "a normalisation that the others lack.",
    alone=True,
)
def no_normalisation(case: Case) -> None:
    """A mixer does not normalise what it reads: reads scaled by factors of their own give other writes."""
    # One token alone would not do: a norm of what is written makes its length vanish as well.
    reads, running = case.longer(max(4, case.sizes.time)), evaluating(case.mixer)
    written = write(running, reads)
    if not first_difference(write(running, other_reads(reads)), written):
        raise NotApplicable("its writes do not depend on its reads")
    factors = other_reads(reads[..., :1], seed=6).sigmoid() * 3 + 0.5
    change = (write(running, reads * factors) - written).abs().max()
    if change <= UNCHANGED * max(1.0, float(written.abs().max())):
        text = "reads of other lengths and the same directions give the same writes: it normalises its reads"
        raise LawViolation(f"{text} {case.where(reads)}: |Δ| = {float(change):.2g}")
