"""The laws of dependence: which reads a write may know of."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from zoo.contract import Mixed, TokenMixer
from zoo.testing.case import Case
from zoo.testing.law import law
from zoo.testing.running import (
    both_modes,
    chunk_sizes,
    evaluating,
    in_pieces,
    modes,
    other_reads,
    seeded,
    streams,
    write,
)
from zoo.testing.tolerances import bound
from zoo.testing.violation import LawViolation, NotApplicable, first_difference


@law(
    "causality",
    bug="A convolution padded on both sides sees the next token: the loss looks wonderful, and the model writes "
    "nonsense.",
    causal=True,
)
def causality(case: Case) -> None:
    """Write t depends on the reads up to t only: changing the reads after t changes no write up to t."""
    check_causality(case, case.reads, range(1, case.reads.shape[1]), both_modes(case.mixer))


def check_causality(case: Case, reads: Tensor, places: Sequence[int], modes: Iterable[TokenMixer]) -> None:
    """Change the reads from each of the places on, and look at the writes before it."""
    for running in modes:
        written = write(running, reads)
        # The change is finite, since fused attention multiplies what it masks by zero; the larger one shows what a
        # maximum or a saturated gate would hide.
        for strange in (other_reads(reads, seed=1), other_reads(reads, seed=2, scale=10.0)):
            if not running.training and _all_causal(running, reads, written, strange, places):
                continue
            for t in places:
                changed = torch.cat([reads[:, :t], strange[:, t:]], dim=1)
                if found := first_difference(write(running, changed)[:, :t], written[:, :t]):
                    cause = _cause(running, reads, strange, found.time)
                    text = f"write {found.time} depends on {cause} {case.where(reads, running)}"
                    raise LawViolation(f"{text}: {found}")


ROWS = 16
"""Rows of changed reads that are written at once."""


def _all_causal(running: TokenMixer, reads: Tensor, written: Tensor, strange: Tensor, places: Sequence[int]) -> bool:
    """Whether no change shows, many looked at together. If one does, it may be the company: each is looked at alone."""
    for some in batched(places, max(1, ROWS // len(reads))):
        changed = torch.cat([torch.cat([reads[:, :t], strange[:, t:]], dim=1) for t in some])
        for t, actual in zip(some, write(running, changed).split(len(reads)), strict=True):
            if first_difference(actual[:, :t], written[:, :t]):
                return False
    return True


def batched(places: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """The places, at most so many at a time."""
    return (places[start : start + size] for start in range(0, len(places), size))


def _cause(running: TokenMixer, reads: Tensor, strange: Tensor, time: int) -> str:
    """The first single read that write `time` depends on and should not."""
    here = slice(time, time + 1)
    for s in range(time + 1, reads.shape[1]):
        changed = reads.clone()
        changed[:, s] = strange[:, s]
        if first_difference(write(running, changed)[:, here], write(running, reads)[:, here]):
            return f"read {s}"
    return "later reads, though on none of them alone"


@law(
    "jacobian",
    bug="A straight-through estimator normalised over the sequence: the writes are causal, the gradients are not, and "
    "the training learns from tokens that generation does not have.",
    causal=True,
    alone=True,
)
def jacobian(case: Case) -> None:
    """The gradient of write t reaches the reads of its own row up to t, and no others."""
    for running in both_modes(case.mixer):
        reads = case.reads.clone().requires_grad_()
        with seeded(0):
            written = Mixed.of(running(reads)).out
        if not written.requires_grad:
            raise NotApplicable("no gradient leads from its writes to its reads")
        directed = written * other_reads(written.detach(), seed=5)
        for row, t in _corners(*reads.shape[:2]):
            got: tuple[Tensor | None, ...]
            got = torch.autograd.grad(directed[row, t].sum(), reads, retain_graph=True, allow_unused=True)
            gradient = torch.zeros_like(reads) if got[0] is None else got[0]
            beyond = gradient.nan_to_num().abs().amax(-1)
            beyond[row, : t + 1] = 0
            if beyond.max() > bound(gradient.nan_to_num()):
                source, s = divmod(int(beyond.argmax()), reads.shape[1])
                other = "" if source == row else f" of row {source}"
                text = f"the gradient of write {t} reaches read {s}{other} {case.where(reads, running)}"
                raise LawViolation(f"{text}: |g| = {float(beyond.max()):.2g}")


def _corners(rows: int, time: int) -> list[tuple[int, int]]:
    """Every write of the first row, and the first and the last write of the last."""
    return [(0, t) for t in range(time)] + [(rows - 1, t) for t in (0, time - 1)]


@law(
    "prefix",
    bug="Positions counted from the end, or a sum divided by the length: training and generation see other numbers.",
    causal=True,
)
def prefix(case: Case) -> None:
    """The writes of a prefix are the prefix of the writes, so that the length says nothing about the beginning."""
    check_prefix(case, case.reads, range(1, case.reads.shape[1]), modes(case.mixer, case.reads))


def check_prefix(case: Case, reads: Tensor, places: Sequence[int], modes: Iterable[TokenMixer]) -> None:
    """End the reads at each of the places."""
    for running in modes:
        written = write(running, reads)
        for t in places:
            if found := first_difference(write(running, reads[:, :t]), written[:, :t]):
                text = f"write {found.time} changes when the reads end after {t} {case.where(reads, running)}"
                raise LawViolation(f"{text}: {found}")


CROWD = 17
"""Rows of a large batch, more than a small power of two."""


@law(
    "batch-independence",
    bug="Experts with a capacity for the whole batch: what is written for a text depends on who else was asked.",
)
def batch_independence(case: Case) -> None:
    """A row is written as if it were alone, whatever the other rows are and in whatever order they stand."""
    reads, rows = case.reads, range(case.reads.shape[0])
    for running in modes(case.mixer, reads):
        written = write(running, reads)
        crowd = torch.cat([reads, *(other_reads(reads, seed, scale) for seed in range(1, 4) for scale in (1, 10))])
        crowd = crowd.repeat(-(-CROWD // len(crowd)), *(1 for _ in crowd.shape[1:]))
        in_company = {
            "stands alone": torch.cat([write(running, reads[row : row + 1]) for row in rows]),
            "gets other rows beside it": write(running, crowd)[: reads.shape[0]],
            "changes its place": write(running, crowd.flip(0)).flip(0)[: reads.shape[0]],
        }
        for company, actual in in_company.items():
            if found := first_difference(actual, written):
                text = f"write {found.time} of row {found.row} changes when the row {company}"
                raise LawViolation(f"{text} {case.where(reads, running)}: {found}")


LENGTHS = (1, 2, 3, 63, 65, 100, 130)


@law(
    "lengths",
    bug="A kernel that works in chunks of 64 and forgets the mask of the last, shorter one: right at every length that "
    "was tested, a power of two.",
    limit=6,
)
def lengths(case: Case) -> None:
    """Shape, causality, prefix and streaming hold for one token, for fewer than a kernel has, and for 63 to 130."""
    reads = case.longer(max(LENGTHS), batch=min(2, case.sizes.batch))
    running, longest = evaluating(case.mixer), case.mixer.max_length
    for time in LENGTHS:
        try:
            finite = write(running, reads[:, :time]).isfinite().all()
        except Exception as error:
            cause = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise LawViolation(f"forward fails {case.where(reads[:, :time])}: {cause}") from None
        if not finite:
            raise LawViolation(f"forward writes numbers that are not finite {case.where(reads[:, :time])}")
    if longest is not None and longest < max(LENGTHS):
        _check_refusal(case, longest)
    if streams(running):
        check_causality(case, reads, _places(reads.shape[1]), [running])
        check_prefix(case, reads, _places(reads.shape[1]), [running])
        written = write(running, reads)
        time = reads.shape[1]
        for cuts in (range(1, time), range(63, time, 63), range(64, time, 64), range(min(30, time), time, 100)):
            with torch.no_grad():
                streamed = in_pieces(running, reads, cuts)
            if found := first_difference(streamed, written):
                pieces = chunk_sizes(time, cuts)
                text = f"write {found.time} of pieces of {pieces} is not that of the whole {case.where(reads)}"
                raise LawViolation(f"{text}: {found}")


def _check_refusal(case: Case, longest: int) -> None:
    reads = torch.cat([case.longer(longest), case.longer(1)], dim=1)
    try:
        write(evaluating(case.mixer), reads)
    except ValueError:
        return
    raise LawViolation(f"max_length={longest}, and forward takes {longest + 1} reads without a ValueError")


def _places(time: int) -> list[int]:
    """Where to cut a long sequence in two: near its ends and near powers of two, where chunks meet."""
    corners = [*(2**n for n in range(time.bit_length())), time]
    near = {corner + offset for corner in corners for offset in (-1, 0, 1)}
    return sorted(place for place in near if 0 < place < time)
