"""The laws of what the host passes to mixers that name it: the documents of packed rows, what earlier layers share."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from zoo.contract import Mixed, TokenMixer
from zoo.testing.case import Case
from zoo.testing.law import law
from zoo.testing.running import chunk_sizes, evaluating, other_reads
from zoo.testing.violation import LawViolation, apart, first_difference

PACKED = 70
"""Tokens of a longer packed row, over the border of a chunk of 64."""


@law(
    "documents",
    bug="Attention masked by documents, and positions that go on counting: the second document of a packed row is not "
    "what it is when it stands alone.",
    names="documents",
)
def documents(case: Case) -> None:
    """A packed row gives what each of its documents gives alone, in writes and gradients, wherever the rows are cut."""
    running = evaluating(case.mixer)
    short = case.longer(max(3, case.sizes.time)), case.pieces or (1, 2)
    for reads, ends in (short, (case.longer(PACKED, batch=2), (1, 5, 30, 64))):
        rows, time = reads.shape[:2]
        cuts = [_ends_of_row(ends, row, time) for row in range(rows)]
        ids = torch.stack([_ids(of_row, time) for of_row in cuts])
        packed, slope = _written(running, reads, documents=ids)
        alone = [_joined(running, reads[row : row + 1], of_row) for row, of_row in enumerate(cuts)]
        for name, actual, expected in (
            ("write", packed, torch.cat([out for out, _ in alone])),
            ("the gradient of read", slope, torch.cat([gradient for _, gradient in alone])),
        ):
            if found := first_difference(actual, expected):
                text = f"{name} {found.time} of row {found.row} is not what its document gives alone"
                lengths = chunk_sizes(time, cuts[found.row])
                raise LawViolation(f"{text} {case.where(reads)}, in documents of {lengths} tokens: {found}")


def _joined(running: TokenMixer, row: Tensor, ends: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """What the documents of a row give each alone, joined."""
    spans = pairwise((0, *ends, row.shape[1]))
    out, slope = zip(*(_written(running, row[:, start:end]) for start, end in spans), strict=True)
    return torch.cat(out, dim=1), torch.cat(slope, dim=1)


def _ends_of_row(ends: tuple[int, ...], row: int, time: int) -> tuple[int, ...]:
    """Where the documents of a row end, in each row elsewhere; the second row is one document."""
    return () if row == 1 else tuple(sorted({(end + row) % time for end in ends} - {0}))


def _ids(ends: tuple[int, ...], time: int) -> Tensor:
    """Ids of which neighbours differ and that come again: a document is a run of equal ids."""
    position, ids = torch.arange(time), (5, 0, 5, 7)
    number = sum(((position >= end).long() for end in ends), start=torch.zeros_like(position))
    return torch.tensor(ids)[number % len(ids)]


def _written(running: TokenMixer, reads: Tensor, **host: Any) -> tuple[Tensor, Tensor]:
    """What is written, and the gradient of the reads in a direction that the reads decide; tokens have none."""
    given = reads.clone().requires_grad_(reads.is_floating_point())
    out = Mixed.of(running(given, **host), running).out
    if not (out.requires_grad and given.requires_grad):
        return out.detach(), torch.zeros(*reads.shape[:2], 1)
    (slope,) = torch.autograd.grad((out * reads.cos()).sum(), given, allow_unused=True)
    return out.detach(), torch.zeros_like(reads) if slope is None else slope


@law(
    "shared-streaming",
    bug="A value residual that adds the value of the first layer in `forward` and forgets it in `step`: the loss is "
    "right, and the text that is generated is not.",
    causal=True,
    names="shared",
)
@torch.no_grad()
def shared_streaming(case: Case) -> None:
    """With what earlier layers share, and without it, the pieces of `step` joined equal `forward`, in what is written
    and in what is handed up.
    """
    reads = case.longer(max(3, case.sizes.time))
    trial = _Trial(case, reads, case.pieces or (1, 2))
    first, later = (evaluating(case.at_layer(index)) for index in (0, 1))
    embedding = other_reads(reads, seed=8)
    nothing = trial.run(later, "with nothing shared", {}, trial.cut({}))
    if found := first_difference(Mixed.of(later(reads), later).out, nothing.whole.out):
        text = f"write {found.time} without `shared` is not that with an empty one"
        raise LawViolation(f"{text} {case.where(reads)}: {found}")
    alone = trial.run(first, "in the first layer", {"embedding": embedding}, trial.cut({"embedding": embedding}))
    # What another kind of layer would have to hand up is tried as a tensor like the reads.
    known = {"embedding": embedding, **alone.whole.shared}
    more = {"embedding": embedding} | {name: other_reads(reads, seed=9) for name in _missing(later, reads, known)}
    pieces = [{**cut, **mixed.shared} for cut, mixed in zip(trial.cut(more), alone.pieces, strict=True)]
    trial.run(later, f"with {', '.join(known | more)} shared", known | more, pieces)


class _Run(NamedTuple):
    """What `forward` gave for the whole, and `step` for each piece."""

    whole: Mixed
    pieces: list[Mixed]


class _Trial:
    """One sequence, and the pieces in which it is stepped."""

    def __init__(self, case: Case, reads: Tensor, cuts: tuple[int, ...]) -> None:
        self.case, self.reads = case, reads
        self.spans = list(pairwise((0, *cuts, reads.shape[1])))

    def cut(self, shared: Mapping[str, Tensor]) -> list[dict[str, Any]]:
        """What is shared, for each of the pieces."""
        return [{name: value[:, start:end] for name, value in shared.items()} for start, end in self.spans]

    def run(self, running: TokenMixer, how: str, whole: Mapping[str, Any], pieces: list[dict[str, Any]]) -> _Run:
        """Run a mixer both ways, and hold the pieces against the whole."""
        given = dict(whole)
        kept = pytree.tree_map(torch.clone, given)
        mixed = Mixed.of(running(self.reads, shared=given), running)
        if list(given) != list(kept) or not all(map(torch.equal, *map(pytree.tree_leaves, (given, kept)))):
            raise LawViolation(f"forward changes what it is given as `shared` {how} {self.case.where(self.reads)}")
        state, stepped = None, []
        for (start, end), share in zip(self.spans, pieces, strict=True):
            host = {"shared": share} if self.case.subject.names("shared", "step") else {}
            written, state = running.step(self.reads[:, start:end], state, **host)
            stepped.append(Mixed.of(written, running))
        self._compare(how, mixed, stepped)
        return _Run(mixed, stepped)

    def _compare(self, how: str, whole: Mixed, pieces: list[Mixed]) -> None:
        where = f"{how} {self.case.where(self.reads)}"
        if found := first_difference(torch.cat([piece.out for piece in pieces], dim=1), whole.out):
            hint = "" if self.case.subject.names("shared", "step") else "; its step does not name `shared`"
            raise LawViolation(f"write {found.time} of pieces is not that of the whole {where}: {found}{hint}")
        for name, value in whole.shared.items():
            for (start, end), piece in zip(self.spans, pieces, strict=True):
                if name not in piece.shared:
                    raise LawViolation(f"step hands up no {name!r}, as forward does {where}")
                if not _is_part(piece.shared[name], value, start, end):
                    raise LawViolation(f"{name!r} that step hands up for a piece is not that of forward {where}")


def _is_part(piece: Any, whole: Any, start: int, end: int) -> bool:
    """Whether what is handed up for a piece is that of its tokens, or all so far, as forward has it.

    Of a tensor that does not lie as ``(b, t, ...)`` only the last one can be compared, which is then the whole.
    """
    for part, of in zip(pytree.tree_leaves(piece), pytree.tree_leaves(whole), strict=True):
        if part.ndim > 1 and of.ndim > 1 and part.shape[1] in (end - start, end):
            expected = of[:, end - part.shape[1] : end]
            if part.shape != expected.shape or apart(part, expected) is not None:
                return False
        elif part.shape == of.shape and apart(part, of) is not None:
            return False
    return True


def _missing(running: TokenMixer, reads: Tensor, known: Mapping[str, Any]) -> set[str]:
    """The names that a mixer looks for, that no layer like it hands up, and that may be like its reads."""
    noticing = _Noticing(known)
    running(reads, shared=noticing)
    try:
        running(reads, shared={**known, **{name: torch.zeros_like(reads) for name in noticing.missed}})
    except Exception:  # it is something else, which only the layer that hands it up knows
        return set()
    return noticing.missed


class _Noticing(dict[str, Any]):
    """What is shared; it notices the names that are looked for and are not there."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self.missed: set[str] = set()

    def __contains__(self, name: object) -> bool:
        found = super().__contains__(name)
        self.missed |= set() if found else {str(name)}
        return found

    def __missing__(self, name: str) -> Any:
        self.missed.add(name)
        raise KeyError(name)

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dict."""
        present = name in self
        return self[name] if present else default
