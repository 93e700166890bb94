"""The laws of `step`: what comes in pieces is written as the whole would be, and a state is a plain value."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from zoo.contract import Mixed, State, TokenMixer
from zoo.testing.case import Case
from zoo.testing.law import law
from zoo.testing.running import chunk_sizes, evaluating, in_pieces, objective, other_reads, stepped, write
from zoo.testing.violation import LawViolation, NotApplicable, apart, first_difference


@law(
    "streaming",
    bug="Rotary angles that start again at every step: the validation loss is right, and generated text falls apart "
    "after the prompt.",
    causal=True,
)
def streaming(case: Case) -> None:
    """For every way of cutting a sequence into pieces, the pieces' writes joined equal `forward` of the whole."""
    running, reads = evaluating(case.mixer), case.reads
    written, time = write(running, reads), reads.shape[1]
    ways = [case.pieces, tuple(range(1, time)), (), (1,), (time // 2,), (time - 1,)]
    for way in dict.fromkeys(tuple(cut for cut in way if 0 < cut < time) for way in ways):
        with torch.no_grad():
            streamed = in_pieces(running, reads, way)
        if found := first_difference(streamed, written):
            text = (
                f"write {found.time} of pieces of {chunk_sizes(time, way)} is not that of the whole {case.where(reads)}"
            )
            raise LawViolation(f"{text}: {found}")


@law(
    "state-rows",
    bug="A cache of shape (t, b, d), or a position kept as a number: beam search reorders the rows, and each goes on "
    "with the memory of another.",
    causal=True,
)
@torch.no_grad()
def state_rows(case: Case) -> None:
    """A state is made of tensors whose first axis is the batch: rows can be selected, repeated and reordered."""
    running, reads = evaluating(case.mixer), case.longer(max(2, case.sizes.time), batch=case.sizes.batch + 1)
    first, following = _halves(reads)
    _, state = stepped(running, first)
    for leaf in _leaves(state):
        what = f"a tensor of shape {tuple(leaf.shape)}" if isinstance(leaf, Tensor) else f"a {type(leaf).__name__}"
        if not isinstance(leaf, Tensor) or leaf.ndim == 0 or leaf.shape[0] != reads.shape[0]:
            text = f"for a batch of {reads.shape[0]} the state holds {what}"
            raise LawViolation(f"{text}: it should hold tensors whose first axis is the batch, and nothing else")
    written, _ = stepped(running, following, state)
    backwards = torch.arange(reads.shape[0] - 1, -1, -1)
    for rows, done in [(backwards.repeat(2), "reordered and repeated"), (backwards[:1], "taken out of the batch")]:
        selected, _ = stepped(running, following[rows], _map(operator.itemgetter(rows), state))
        if found := first_difference(selected, written[rows]):
            text = f"write {found.time} is another one when the rows of a state are {done} {case.where(reads)}"
            raise LawViolation(f"{text}: {found}")


AGES = (1, 2, 3, 5, 8, 13, 21, 30, 47, 62)
"""Tokens that the rows have seen: within the next few of them each period up to 64 ends in one row and in no other."""

NEXT = 12
"""Tokens that come after that."""


@law(
    "row-phases",
    bug="A cell that updates its slow state whenever the position of the first row is a multiple of 16: beside rows of "
    "other ages, in continuous batching, a text is another one.",
    limit=4,
    causal=True,
)
@torch.no_grad()
def row_phases(case: Case) -> None:
    """Rows that have seen different numbers of tokens, where their states can be joined, step as each would alone."""
    running, reads = evaluating(case.mixer), case.longer(AGES[-1] + NEXT, batch=1)
    ages = [age for age in AGES if age + NEXT <= reads.shape[1]]
    if not ages:
        raise NotApplicable(f"it takes {reads.shape[1]} tokens at most, too few to have rows of different ages")
    following = torch.cat([other_reads(reads, seed=age)[:, :NEXT] for age in ages])
    states = [stepped(running, reads[:, :age])[1] for age in ages]
    shapes = [_shapes(state) for state in states]
    joined = max((_same(shapes, one) for one in shapes), key=len, default=[])
    if len(joined) < 2:
        raise NotApplicable("states of rows of different ages have different shapes, so that they cannot be joined")
    alone = torch.cat([_decoded(running, following[row : row + 1], states[row]) for row in joined])
    together = _decoded(running, following[joined], _join([states[row] for row in joined]))
    if found := first_difference(together, alone):
        text = f"write {found.time} of a row that is {ages[joined[found.row]]} tokens old is another one beside rows of"
        raise LawViolation(f"{text} other ages {case.where(following)}: {found}")


def _decoded(running: TokenMixer, following: Tensor, state: State) -> Tensor:
    """What is written for tokens that come one by one."""
    written = []
    for read in following.split(1, dim=1):
        out, state = stepped(running, read, state)
        written.append(out)
    return torch.cat(written, dim=1)


def _join(states: list[State]) -> State:
    return None if states[0] is None else pytree.tree_map(lambda *leaves: torch.cat(leaves), *states)


def _same(shapes: list[list[torch.Size]], wanted: list[torch.Size]) -> list[int]:
    return [index for index, shape in enumerate(shapes) if shape == wanted]


def _shapes(state: State) -> list[torch.Size]:
    return [leaf.shape for leaf in _leaves(state)]


@law(
    "state-value",
    bug="A cache that is extended in place: two samples drawn from one prompt read each other's words.",
    causal=True,
)
@torch.no_grad()
def state_value(case: Case) -> None:
    """A step changes no state that it is given: stepping twice from one state gives the same, whatever came between."""
    running = evaluating(case.mixer)
    reads = case.longer(max(2, case.sizes.time))
    first, following = _halves(reads)
    _, state = stepped(running, first)
    if not all(isinstance(leaf, Tensor) for leaf in _leaves(state)):
        raise NotApplicable("its state holds more than tensors: see state-rows")
    kept = _map(torch.clone, state)
    written, _ = stepped(running, following, state)
    if not all(map(torch.equal, _leaves(state), _leaves(kept))):
        raise LawViolation(f"step changes the state that it is given {case.where(reads)}")
    stepped(running, other_reads(first, seed=4))  # another text in between
    again, _ = stepped(running, following, state)
    if found := first_difference(again, written):
        text = f"write {found.time} of a second step from one state is another one {case.where(reads)}"
        raise LawViolation(f"{text}: {found}; keep what is remembered in the state, not in the module")


SPANS = (16, 32, 64)


@law(
    "state-growth",
    bug="A slice of a cache that is a view: a state of one token keeps a prompt of a million alive.",
    grade="finish",
    causal=True,
)
@torch.no_grad()
def state_growth(case: Case) -> None:
    """What a state holds in memory is no more than a few times what it uses, and grows at most linearly."""
    running, reads = evaluating(case.mixer), case.longer(max(SPANS))
    sizes_held, state, done = [], None, 0
    for time in (min(span, reads.shape[1]) for span in SPANS):
        _, whole = stepped(running, reads[:, :time])
        for at in range(done, time):
            _, state = stepped(running, reads[:, at : at + 1], state)
        done = time
        sizes_held.append(_used(state))
        for one, pieces in ((whole, "one piece"), (state, "single tokens")):
            if _alive(one) > 4 * _used(one) + _slack(case):
                numbers = f"keeps {_alive(one):,} bytes alive and uses {_used(one):,}"
                text = f"the state after {time} tokens in {pieces} {numbers} {case.where(reads[:, :time])}"
                raise LawViolation(f"{text}: clone what is kept of a larger tensor")
    first, then = sizes_held[1] - sizes_held[0], sizes_held[2] - sizes_held[1]
    if then > 2.5 * max(first, 0) + _slack(case):
        sizes = ", ".join(f"{size:,} after {time}" for size, time in zip(sizes_held, SPANS, strict=True))
        raise LawViolation(f"the state grows faster than the text: bytes {sizes} tokens {case.where(reads)}")


def _slack(case: Case) -> int:
    """The bytes of eight tokens' reads, which no rule of growth is about."""
    return 8 * 8 * case.sizes.batch * case.sizes.dim


def _used(state: State) -> int:
    return sum(leaf.numel() * leaf.element_size() for leaf in _leaves(state) if isinstance(leaf, Tensor))


def _alive(state: State) -> int:
    """The bytes of memory that cannot be freed while the state lives."""
    storages = [leaf.untyped_storage() for leaf in _leaves(state) if isinstance(leaf, Tensor)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


@law(
    "step-gradients",
    bug="A state that is detached between pieces: training on long texts in pieces runs, and learns nothing that lies "
    "further back than a piece.",
    causal=True,
)
def step_gradients(case: Case) -> None:
    """Gradients through `step`, piece by piece, are those through `forward` of the whole."""
    running, reads = evaluating(case.mixer), case.reads
    given = reads.clone().requires_grad_() if reads.is_floating_point() else reads
    asked: dict[str, Tensor] = {n: value for n, value in running.named_parameters() if value.requires_grad}
    if given.requires_grad:
        asked["the reads"] = given
    whole = Mixed.of(running(given)).out
    if not whole.requires_grad:
        raise NotApplicable("its writes have no gradient")
    expected = _gradients(whole, asked)
    if any(not gradient.isfinite().all() for gradient in expected.values()):
        raise NotApplicable("the gradient of forward is not finite: see gradients")
    time = reads.shape[1]
    for way in dict.fromkeys([case.pieces, tuple(range(1, time))]):
        actual = _gradients(in_pieces(running, given, way), asked)
        for name in asked:
            if difference := apart(actual[name], expected[name]):
                text = f"the gradient of {name} through pieces of {chunk_sizes(time, way)} is not that of the whole"
                raise LawViolation(f"{text} {case.where(reads)}: |Δ| = {difference:.2g}")


def _gradients(written: Tensor, asked: dict[str, Tensor]) -> dict[str, Tensor]:
    if not written.requires_grad:
        return {name: torch.zeros_like(value) for name, value in asked.items()}
    got = torch.autograd.grad(objective(Mixed(written)), list(asked.values()), allow_unused=True)
    pairs = zip(asked.items(), got, strict=True)
    return {name: torch.zeros_like(value) if found is None else found for (name, value), found in pairs}


def _halves(reads: Tensor) -> tuple[Tensor, Tensor]:
    """The beginning of a text, and what comes next: one token or more each."""
    time = reads.shape[1]
    if time < 2:
        raise NotApplicable("it takes one token only")
    return reads[:, : (time + 1) // 2], other_reads(reads, seed=3)[:, : max(1, time // 2)]


def _leaves(state: State) -> list[Any]:
    """What a state is made of; None, which a mixer without memory may return, is made of nothing."""
    return [] if state is None else pytree.tree_leaves(state)


def _map(change: Callable[[Tensor], Tensor], state: State) -> State:
    return None if state is None else pytree.tree_map(change, state)
