"""The laws of `backward`: whatever takes part in a write learns from it, and learns the right thing."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from zoo.contract import Mixed, TokenMixer
from zoo.testing.case import Case
from zoo.testing.law import law
from zoo.testing.running import drawn, evaluating, modes, objective, other_reads, seeded, write
from zoo.testing.tolerances import FINITE_DIFFERENCE
from zoo.testing.violation import LawViolation, NotApplicable

DRAWS = 8
LONGEST = 64
READS = "the reads"


@law(
    "gradients",
    bug="The original Leviathan computes its scores outside autograd: its query projection stays what it was drawn as.",
    limit=15,
)
def gradients(case: Case) -> None:
    """Gradients are finite, and reach the reads and every parameter, at its start and elsewhere."""
    # A gradient may be zero at one point: a top-k router leaves experts out, a unit is off, a lag is longer than the
    # sequence. So other points are tried, and longer sequences, and only what none of them reaches is reported.
    mixer, time = case.mixer, case.sizes.time
    unreached = {name for name, value in mixer.named_parameters() if value.requires_grad and value.numel()}
    if not case.subject.whole_model and _depends_on_reads(mixer, case.reads):
        unreached.add(READS)
    for draw in range(DRAWS):
        longer = case.longer(max(time, min(time * 2**draw, LONGEST)))
        unreached -= _reached(case, drawn(mixer, seed=draw).train(), other_reads(longer, seed=draw))
        if not unreached:
            break
    if unreached:
        raise LawViolation(f"no gradient reaches {', '.join(sorted(unreached))} {case.where(longer)}")
    if idle := _idle_from_the_beginning(case):
        text = f"from where they begin {', '.join(sorted(idle))} never learn: their gradient is zero and stays so"
        raise LawViolation(f"{text} {case.where(longer)}")


def _idle_from_the_beginning(case: Case) -> set[str]:
    """The parameters that some steps of training, from the initial values, do not move."""
    running = case.build().double().train()
    idle = {name for name, value in running.named_parameters() if value.requires_grad and value.numel()}
    for step in range(DRAWS):
        idle -= _reached(case, running, other_reads(case.longer(LONGEST, batch=3), seed=step), move=0.1)
    return idle


def _reached(case: Case, running: TokenMixer, reads: Tensor, move: float = 0.0) -> set[str]:
    """The names of what gets a gradient other than zero, after which parameters move against it by so much."""
    asked: dict[str, Tensor] = {name: value for name, value in running.named_parameters() if value.requires_grad}
    if reads.is_floating_point():
        asked[READS] = reads.requires_grad_()
    with seeded(0):
        value = objective(Mixed.of(running(reads)))
    if not value.requires_grad:
        return set()
    got = torch.autograd.grad(value, list(asked.values()), allow_unused=True)
    found = {name: gradient for name, gradient in zip(asked, got, strict=True) if gradient is not None}
    for name, gradient in found.items():
        if not gradient.isfinite().all():
            raise LawViolation(f"the gradient of {name} is not finite {case.where(reads, running)}")
    with torch.no_grad():
        for name, parameter in running.named_parameters():
            if move and name in found:
                parameter.sub_(move * found[name] / (found[name].norm() + 1))
    return {name for name, gradient in found.items() if gradient.any()}


def _depends_on_reads(mixer: TokenMixer, reads: Tensor) -> bool:
    running = evaluating(mixer)
    return not torch.equal(write(running, reads), write(running, other_reads(reads)))


STEPS = (1e-5, 1e-6, 1e-7)

LONG = 70
"""Tokens of a longer sequence, over the border of a chunk of 64."""


@law(
    "gradcheck",
    bug="One of two branches detached, or a backward pass written by hand with a factor missing: it trains, to a worse "
    "loss, and it never shows.",
    limit=15,
)
def gradcheck(case: Case) -> None:
    """Gradients agree with finite differences, for the reads and for every parameter."""
    for running in modes(case.mixer, case.reads):
        _check_slopes(case, running, case.reads)
    if not case.subject.whole_model:
        _check_slopes(case, evaluating(case.mixer), case.longer(LONG))


def _check_slopes(case: Case, running: TokenMixer, reads: Tensor) -> None:
    values: dict[str, Tensor] = {n: p.detach().clone() for n, p in running.named_parameters() if p.requires_grad}
    if not case.subject.whole_model:
        values[READS] = reads.clone()
    inputs = {name: value.requires_grad_() for name, value in values.items()}
    value = _value(running, inputs, reads)
    if not value.requires_grad:
        raise NotApplicable("its writes have no gradient")
    got = torch.autograd.grad(value, list(inputs.values()), allow_unused=True)
    slopes = {
        name: (torch.zeros_like(at) if found is None else found)
        for (name, at), found in zip(inputs.items(), got, strict=True)
    }
    if _agree(running, values, slopes, tuple(values), reads):
        return
    wrong = [name for name in values if not _agree(running, values, slopes, (name,), reads)]
    if wrong:
        text = f"the gradient of {', '.join(wrong)} is not what finite differences say {case.where(reads, running)}"
        raise LawViolation(f"{text}; if that is meant (straight-through), say so in expected_failures")


def _value(running: TokenMixer, inputs: Mapping[str, Tensor], reads: Tensor) -> Tensor:
    parameters = {name: value for name, value in inputs.items() if name != READS}
    mixed = torch.func.functional_call(running, parameters, (inputs.get(READS, reads),))
    return objective(Mixed.of(mixed))


@torch.no_grad()
def _agree(
    running: TokenMixer, at: Mapping[str, Tensor], slopes: Mapping[str, Tensor], along: tuple[str, ...], reads: Tensor
) -> bool:
    """Whether the slope along one random direction is what small steps along it say.

    A step that crosses a kink (a maximum, a choice between experts) says something else; a smaller one does not cross.
    """
    direction = {name: other_reads(at[name], seed=7) for name in along}
    slope = sum(float((slopes[name] * direction[name]).sum()) for name in along)
    for step in STEPS:
        ends = []
        for sign in (1, -1):
            moved = {n: v + sign * step * direction[n] if n in direction else v for n, v in at.items()}
            ends.append(float(_value(running, moved, reads)))
        measured = (ends[0] - ends[1]) / (2 * step)
        noise = 1e-15 * max(1.0, *map(abs, ends)) / step
        if math.isclose(slope, measured, rel_tol=FINITE_DIFFERENCE, abs_tol=FINITE_DIFFERENCE + noise):
            return True
    return False
