"""What is run in a cell: the calls that are timed, and how much they compute and move at least."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from zoo.lab.bench.candidates import Candidate
from zoo.lab.bench.request import Request
from zoo.model.stack import States
from zoo.train.evaluate import autocast

PIECE = 512
"""Tokens at a time when the state for decoding is built."""


@dataclass(frozen=True)
class Work:
    """One call of a candidate at a length.

    Attributes:
        call: does it once.
        tokens: that a call takes in.
        bytes_moved: bytes that must be read or written at least: parameters, reads and writes, or the state.
        state: bytes of the state that decoding starts from or that a prompt leaves; None for other kinds.
        counted: does once what the operations of a call are counted of; None for the call itself.
    """

    call: Callable[[], object]
    tokens: int
    bytes_moved: int
    state: int | None = None
    counted: Callable[[], object] | None = None


def prepare_work(kind: str, candidate: Candidate, length: int, request: Request, device: torch.device) -> Work:
    """What a cell of that kind is to run, with everything built that is not part of its cost.

    Raises:
        UsageError: the candidate does not take so many tokens.
    """
    tokens = length + 1 if kind == "decode" else length
    candidate = candidate.for_length(tokens)
    candidate.train(kind in ("train", "memory"))
    ways = {"forward": _forward, "train": _train, "prefill": _prefill, "decode": _decode, "memory": _train}
    return ways[kind](candidate, length, request, device)


def _forward(candidate: Candidate, length: int, request: Request, device: torch.device) -> Work:
    reads = _reads(length, request, device)

    def call() -> None:
        with torch.no_grad(), autocast(device, request.precision):
            candidate(reads)

    return Work(call, reads.shape[0] * length, candidate.parameters_bytes + 2 * reads.nbytes)


def _train(candidate: Candidate, length: int, request: Request, device: torch.device) -> Work:
    reads = _reads(length, request, device).requires_grad_()
    gradient = torch.randn(reads.shape, generator=torch.Generator().manual_seed(request.seed + 1)).to(device)
    leaves = [reads, *candidate.parameters()]

    def call() -> None:
        with autocast(device, request.precision):
            stream, losses = candidate(reads)
        torch.autograd.backward([stream, *losses], [gradient, *(torch.ones_like(loss) for loss in losses)])
        for leaf in leaves:
            leaf.grad = None

    # Parameters and reads are read and their gradients written; writes are written and their gradients read.
    return Work(call, reads.shape[0] * length, 2 * candidate.parameters_bytes + 4 * reads.nbytes)


def _prefill(candidate: Candidate, length: int, request: Request, device: torch.device) -> Work:
    reads = _reads(length, request, device)

    def take_in() -> States:
        with torch.no_grad(), autocast(device, request.precision):
            return candidate.step(reads)[1]

    size = state_bytes(take_in())
    return Work(take_in, reads.shape[0] * length, candidate.parameters_bytes + 2 * reads.nbytes + size, size)


def _decode(candidate: Candidate, length: int, request: Request, device: torch.device) -> Work:
    reads = _reads(length + 1, request, device)
    states, last = _states(candidate, reads[:, :-1], request), reads[:, -1:].clone()

    def call() -> None:
        with torch.no_grad(), autocast(device, request.precision):
            candidate.step(last, states)

    size = state_bytes(states)
    return Work(call, reads.shape[0], candidate.parameters_bytes + size, size)


def state_bytes(states: States | None) -> int:
    """Bytes of all tensors of the states."""
    return sum(leaf.nbytes for leaf in tree_leaves(states) if isinstance(leaf, Tensor))


def _states(candidate: Candidate, reads: Tensor, request: Request) -> States | None:
    """What came of the reads, taken in pieces."""
    states: States | None = None
    with torch.no_grad(), autocast(reads.device, request.precision):
        for piece in reads.split(PIECE, dim=1):
            _, states = candidate.step(piece, states)
    return states


def _reads(length: int, request: Request, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(request.seed)
    return torch.randn(request.batch, length, request.dim, generator=generator).to(device)
