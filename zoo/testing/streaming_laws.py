"""The laws of `step`: what comes in pieces is written as the whole would be, and a state is a plain value."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from zoo.contract import State, TokenMixer
from zoo.testing.running import evaluating, other_reads, write
from zoo.testing.violation import LawViolation, first_difference, where


def check_streaming(mixer: TokenMixer, reads: Tensor, cuts: Sequence[int] | None = None) -> None:
    """For every way of cutting a sequence into pieces, the pieces' writes joined equal `forward` of the whole.

    Args:
        mixer: is judged in evaluation mode.
        reads: ``(b, t, d)``.
        cuts: where pieces end, each between 0 and t, ascending; by default several ways to cut are tried.
    """
    running, time = evaluating(mixer), reads.shape[1]
    written = write(running, reads)
    ways = [tuple(range(1, time)), (), (1,), (time // 2,), (time - 1,)] if cuts is None else [tuple(cuts)]
    for way in dict.fromkeys(tuple(cut for cut in way if 0 < cut < time) for way in ways):
        if found := first_difference(_in_pieces(running, reads, way), written, "streaming"):
            pieces = ", ".join(str(after - before) for before, after in pairwise((0, *way, time)))
            text = f"write {found.time} of pieces of {pieces} is not that of the whole {where(reads, running)}"
            raise LawViolation("streaming", f"{text}: {found}")


@torch.no_grad()
def check_state(mixer: TokenMixer, reads: Tensor) -> None:
    """A state is a value: tensors whose rows are the batch's, all that is remembered, and changed by no step."""
    running, time = evaluating(mixer), reads.shape[1]
    begun, following = reads[:, : (time + 1) // 2], other_reads(reads, seed=3)[:, : max(1, time // 2)]
    _, state = running.step(begun)
    _check_leaves(state, reads.shape[0])
    kept = _map(torch.clone, state)
    written, _ = running.step(following, state)
    if not all(map(torch.equal, _leaves(state), _leaves(kept))):
        raise LawViolation("state", f"step changes the state that it is given {where(reads, running)}")
    running.step(other_reads(begun, seed=4))  # another text in between
    again, _ = running.step(following, state)
    if found := first_difference(again, written, "state"):
        text = f"write {found.time} of a second step from one state is another one {where(reads, running)}"
        raise LawViolation("state", f"{text}: {found}; keep what is remembered in the state, not in the module")
    rows = torch.arange(reads.shape[0] - 1, -1, -1).repeat(2)
    selected, _ = running.step(following[rows], _map(lambda leaf: leaf[rows], state))
    if found := first_difference(selected, written[rows], "state"):
        text = f"write {found.time} is another one when the rows of a state are reordered {where(reads, running)}"
        raise LawViolation("state", f"{text}: {found}")


def _in_pieces(running: TokenMixer, reads: Tensor, cuts: Sequence[int]) -> Tensor:
    state, written = None, []
    with torch.no_grad():
        for start, end in pairwise((0, *cuts, reads.shape[1])):
            piece, state = running.step(reads[:, start:end], state)
            written.append(piece)
    return torch.cat(written, dim=1)


def _check_leaves(state: State, batch: int) -> None:
    for leaf in _leaves(state):
        if not isinstance(leaf, Tensor):
            what = f"a {type(leaf).__name__}"
        elif leaf.ndim == 0 or leaf.shape[0] != batch:
            what = f"a tensor of shape {tuple(leaf.shape)}"
        else:
            continue
        text = f"for a batch of {batch} the state holds {what}"
        raise LawViolation("state", f"{text}: it should hold tensors whose first axis is the batch, and nothing else")


def _leaves(state: State) -> list[Any]:
    """What a state is made of; None, which a mixer without memory may return, is made of nothing."""
    return [] if state is None else pytree.tree_leaves(state)


def _map(change: Callable[[Tensor], Tensor], state: State) -> State:
    return None if state is None else pytree.tree_map(change, state)
