"""The laws of finite precision: half precision, extreme reads, memory that was never written."""

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from zoo.contract import Mixed, State, TokenMixer
from zoo.testing.case import Case
from zoo.testing.law import law
from zoo.testing.running import evaluating, in_dtype, in_pieces, objective, stepped, streams, write
from zoo.testing.tolerances import HALF_GRADIENT, STRAY, TOLERANCES
from zoo.testing.violation import LawViolation, first_difference

LONG = 300
"""Tokens in lower precision, so that positions and sums are large enough to be wrong: bfloat16 counts to 256."""


@law(
    "precision",
    bug="Rotary angles in bfloat16: beyond position 256 neighbours have one angle, and long texts blur.",
    limit=10,
)
def precision(case: Case) -> None:
    """In lower precision writes, states and gradients keep their dtype, are finite, and lie near those of float64."""
    kinds = [(torch.float32, "cpu"), (torch.bfloat16, "cpu")]
    if torch.cuda.is_available():
        kinds += [(torch.bfloat16, "cuda"), (torch.float16, "cuda")]
    for dtype, device in kinds:
        halved = evaluating(case.mixer).to(device, dtype)
        reads = in_dtype(case.longer(LONG, batch=1), dtype).to(device)
        exact = copy.deepcopy(halved).double()  # the same rounded parameters: only what is computed may differ
        _compare(case, halved, exact, reads, dtype=dtype, context=nullcontext)


@law(
    "autocast",
    bug="A state that is float32 after the prompt and bfloat16 after the first word: it works until something is "
    "compiled or preallocated for it.",
    limit=10,
)
def autocast(case: Case) -> None:
    """Under autocast to bfloat16 writes and gradients are finite and near those of float64, and states keep their
    dtype.
    """
    mixer, reads = evaluating(case.mixer).float(), in_dtype(case.longer(LONG, batch=1), torch.float32)

    def casting() -> AbstractContextManager[object]:
        return torch.autocast("cpu", torch.bfloat16)

    _compare(case, mixer, copy.deepcopy(mixer).double(), reads, dtype=None, context=casting)


def _compare(
    case: Case,
    mixer: TokenMixer,
    exact: TokenMixer,
    reads: Tensor,
    *,
    dtype: torch.dtype | None,
    context: Callable[[], AbstractContextManager[object]],
) -> None:
    """Hold a mixer in half precision against the same one in float64; without a dtype, any of a write is right."""
    half = dtype or torch.bfloat16
    where = f"in {str(half).removeprefix('torch.')} {case.where(reads)}"
    with context():
        out, slope = _with_gradient(mixer, reads)
        if streams(mixer):
            _check_states(mixer, reads, where)
    if dtype is not None and out.dtype != dtype:
        raise LawViolation(f"it writes {out.dtype} {where}")
    if not out.isfinite().all():
        raise LawViolation(f"its writes are not finite {where}")
    exact_reads = in_dtype(reads, torch.float64)
    expected, expected_slope = _with_gradient(exact, exact_reads)
    astray = _astray(_writes_far(out, expected, half))
    if astray > STRAY:
        moved, _ = _with_gradient(_blurred(exact, half), exact_reads)
        if astray > STRAY + _astray(_writes_far(moved, expected, half)):
            apart = (out.double() - expected).abs().max()
            raise LawViolation(f"{astray:.0%} of its writes lie far from those in float64 {where}: |Δ| = {apart:.2g}")
    if slope is None or expected_slope is None:
        return
    if not slope.isfinite().all():
        raise LawViolation(f"the gradient of its reads is not finite {where}")
    astray = _astray(_slopes_far(slope, expected_slope))
    if astray > STRAY:
        _, moved_slope = _with_gradient(_blurred(exact, half), exact_reads)
        if moved_slope is None or astray > STRAY + _astray(_slopes_far(moved_slope, expected_slope)):
            raise LawViolation(f"the gradient of its reads lies far from that in float64 {where}")


def _writes_far(out: Tensor, expected: Tensor, half: torch.dtype) -> Tensor:
    """Which tokens' writes ``(b, t)`` lie further off than rounding brings them."""
    return (out.double() - expected).abs().amax(-1) > TOLERANCES[half] * max(1.0, float(expected.abs().max()))


def _slopes_far(slope: Tensor, expected: Tensor) -> Tensor:
    """Which tokens' gradients ``(b, t)`` lie further off than rounding brings them."""
    size = float(expected.norm(dim=-1).square().mean().sqrt())
    return (slope.double() - expected).norm(dim=-1) > HALF_GRADIENT * max(size, 1e-3)


def _astray(far: Tensor) -> float:
    """The part of the tokens ``(b, t)`` that lie too far off, where it is largest: in one of four parts of the text."""
    return max(float(part.double().mean()) for part in far.chunk(4, dim=1))


def _blurred(exact: TokenMixer, half: torch.dtype) -> TokenMixer:
    """The same with each parameter off by up to one unit in the last place that `half` has for it.

    What already this moves far is the problem's condition and no fault of how it is computed (a backward error, in
    the sense of Wilkinson): in a model with a router in each layer, close choices add up over its depth.
    """
    blurred, generator = copy.deepcopy(exact), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in blurred.parameters():
            off = 2 * torch.rand(value.shape, generator=generator, dtype=value.dtype) - 1
            value.mul_(1 + torch.finfo(half).eps * off.to(value.device))
    return blurred


def _with_gradient(mixer: TokenMixer, reads: Tensor) -> tuple[Tensor, Tensor | None]:
    given = reads.clone().requires_grad_(reads.is_floating_point())
    mixed = Mixed.of(mixer(given))
    value = objective(Mixed(mixed.out.double(), mixed.losses))
    if not (given.requires_grad and value.requires_grad):
        return mixed.out.detach(), None
    (slope,) = torch.autograd.grad(value, given, allow_unused=True)
    return mixed.out.detach(), slope


@torch.no_grad()
def _check_states(mixer: TokenMixer, reads: Tensor, where: str) -> None:
    """Whether a state has the dtypes that it had, from the prompt to the words after it."""
    state, kinds = None, []
    for piece in (reads[:, :1], reads[:, 1:2], reads[:, 2:5], reads[:, 5:6]):
        if piece.shape[1]:
            _, state = stepped(mixer, piece, state)
            kinds.append(_dtypes(state))
    for before, after in pairwise(kinds):
        if before != after:
            raise LawViolation(f"its state turns from {before} to {after} {where}")


def _dtypes(state: State) -> str:
    leaves = [] if state is None else pytree.tree_leaves(state)
    return ", ".join(str(leaf.dtype).removeprefix("torch.") for leaf in leaves if isinstance(leaf, Tensor))


@law(
    "extremes",
    bug="A norm without a small constant: padding is all zeros, 0 / 0 is NaN, and one batch ends a week of training.",
    limit=10,
    alone=True,
)
def extremes(case: Case) -> None:
    """Reads of zeros, of equal numbers, of 1e4 and of 1e-30 give finite writes in float32, and, up to 100, finite
    gradients.
    """
    # Beyond that the scores of attention lie further apart than float32 can count, and fused kernels, which compute
    # them again in their backward pass, overflow in the difference.
    running, normal = evaluating(case.mixer).float(), case.reads.float()
    kinds = {
        "zeros": torch.zeros_like(normal),
        "equal numbers": torch.full_like(normal, 3.0),
        "1e-30": 1e-30 * normal,
        "100": 100 * normal,
        "1e4": 1e4 * normal,
    }
    for name, reads in kinds.items():
        given = reads.requires_grad_()
        mixed = Mixed.of(running(given))
        if not mixed.out.isfinite().all():
            raise LawViolation(f"reads of {name} give writes that are not finite {case.where(reads)}")
        if name != "1e4":
            _check_gradients(case, running, mixed, given, name)


def _check_gradients(case: Case, running: TokenMixer, mixed: Mixed, reads: Tensor, name: str) -> None:
    value = objective(mixed)
    if not value.requires_grad:
        return
    asked = {**dict(running.named_parameters()), "the reads": reads}
    got = torch.autograd.grad(value, list(asked.values()), allow_unused=True)
    for of, gradient in zip(asked, got, strict=True):
        if gradient is not None and not gradient.isfinite().all():
            raise LawViolation(f"reads of {name} give a gradient of {of} that is not finite {case.where(reads)}")


@law(
    "uninitialised-memory",
    bug="`torch.empty` where a loop was meant to fill it all: right on a fresh machine, whose memory is zero.",
    limit=15,
)
def uninitialised_memory(case: Case) -> None:
    """Nothing that is written comes from memory that was never written: filled with NaN, it does not show."""
    running, reads = evaluating(case.mixer), case.reads
    with torch.no_grad():
        written = write(running, reads)
        streamed = in_pieces(running, reads, case.pieces) if streams(running) else written
        with _poisoned():
            if any(not value.isfinite().all() for value in case.build().parameters()):
                raise LawViolation(f"a parameter is never drawn {case.where(reads)}")
            if found := first_difference(write(running, reads), written):
                raise LawViolation(f"write {found.time} comes from memory that was never written {case.where(reads)}")
            if streams(running) and (found := first_difference(in_pieces(running, reads, case.pieces), streamed)):
                text = f"write {found.time} of step comes from memory that was never written"
                raise LawViolation(f"{text} {case.where(reads)}")


@contextmanager
def _poisoned() -> Iterator[None]:
    """Fill what `torch.empty` and its kin give with NaN."""
    filler: Any = torch.utils.deterministic
    strict = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    filling = filler.fill_uninitialized_memory
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.use_deterministic_algorithms(True, warn_only=True)
        filler.fill_uninitialized_memory = True
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=warn_only)
            filler.fill_uninitialized_memory = filling
