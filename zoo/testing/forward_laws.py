"""The laws of `forward`: what a write depends on, and what it never depends on."""

import torch
from torch import Tensor

from zoo.contract import Mixed, TokenMixer
from zoo.testing.running import modes, other_reads, write
from zoo.testing.violation import LawViolation, first_difference, where


def check_shapes(mixer: TokenMixer, reads: Tensor) -> None:
    """A write has the shape and dtype of its read and is finite, also for one row and for one token."""
    for part in (reads, reads[:1], reads[:, :1], reads[:1, :1]):
        for running in modes(mixer, part):
            mixed = Mixed.of(running(part))
            _check_write("forward", mixed.out, part)
            _check_extras(mixed)
            if running.causal:
                _check_write("step", running.step(part)[0], part)


def check_purity(mixer: TokenMixer, reads: Tensor) -> None:
    """What is written is a function of reads, parameters and buffers alone, and writing changes none of them."""
    for running in modes(mixer, reads):
        held = {name: value.clone() for name, value in running.state_dict().items()}
        given = reads.clone()
        written = write(running, given)
        if not torch.equal(given, reads):
            raise LawViolation("purity", f"forward changes its own reads {where(reads, running)}")
        for name, value in running.state_dict().items():
            if not torch.equal(value, held[name]):
                raise LawViolation("purity", f"forward changes {name} {where(reads, running)}")
        write(running, other_reads(reads))
        if found := first_difference(write(running, reads), written, "purity"):
            text = f"write {found.time} is another one after other reads were written {where(reads, running)}"
            raise LawViolation("purity", f"{text}: {found}")


def check_causality(mixer: TokenMixer, reads: Tensor) -> None:
    """Write t depends on the reads up to t only: changing the reads after t changes no write up to t."""
    for running in modes(mixer, reads):
        written = write(running, reads)
        # The change is finite, since fused attention multiplies what it masks by zero; the larger one shows what a
        # maximum or a saturated gate would hide.
        for strange in (other_reads(reads, seed=1), other_reads(reads, seed=2, scale=10.0)):
            for t in places(reads.shape[1]):
                changed = torch.cat([reads[:, :t], strange[:, t:]], dim=1)
                found = first_difference(write(running, changed)[:, :t], written[:, :t], "causality")
                if found:
                    cause = _cause(running, reads, strange, found.time)
                    text = f"write {found.time} depends on {cause} {where(reads, running)}"
                    raise LawViolation("causality", f"{text}: {found}")


def check_prefix(mixer: TokenMixer, reads: Tensor) -> None:
    """The writes of a prefix are the prefix of the writes, so that the length says nothing about the beginning."""
    for running in modes(mixer, reads):
        written = write(running, reads)
        for t in places(reads.shape[1]):
            if found := first_difference(write(running, reads[:, :t]), written[:, :t], "prefix"):
                text = f"write {found.time} changes when the reads end after {t} {where(reads, running)}"
                raise LawViolation("prefix", f"{text}: {found}")


def check_batch_independence(mixer: TokenMixer, reads: Tensor) -> None:
    """A row is written as if it were alone, whatever the other rows of its batch are."""
    law, rows = "batch-independence", range(reads.shape[0])
    for running in modes(mixer, reads):
        written = write(running, reads)
        crowd = torch.cat([reads, other_reads(reads, seed=1), other_reads(reads, seed=2, scale=10.0)])
        in_company = {
            "stands alone": torch.cat([write(running, reads[row : row + 1]) for row in rows]),
            "gets other rows beside it": write(running, crowd)[: reads.shape[0]],
        }
        for company, actual in in_company.items():
            if found := first_difference(actual, written, law):
                text = f"write {found.time} of row {found.row} changes when the row {company} {where(reads, running)}"
                raise LawViolation(law, f"{text}: {found}")


def places(time: int) -> list[int]:
    """Where to cut a sequence in two: everywhere if it is short, else near its ends and near powers of two.

    Mixers that work in chunks go wrong at the borders of chunks.
    """
    if time <= 16:
        return list(range(1, time))
    corners = [*(2**n for n in range(time.bit_length())), time]
    near = {corner + offset for corner in corners for offset in (-1, 0, 1)}
    return sorted(place for place in near if 0 < place < time)


def _check_write(method: str, written: Tensor, reads: Tensor) -> None:
    if written.shape != reads.shape:
        text = f"{method} writes {tuple(written.shape)} for reads of {tuple(reads.shape)} (b, t, d)"
        raise LawViolation("shapes", f"{text}: a write has the shape of its read")
    if written.dtype != reads.dtype:
        raise LawViolation("shapes", f"{method} writes {written.dtype} for reads of {reads.dtype}")
    if not written.isfinite().all():
        raise LawViolation("shapes", f"{method} writes numbers that are not finite for reads of {tuple(reads.shape)}")


def _check_extras(mixed: Mixed) -> None:
    for name, loss in mixed.losses.items():
        if loss.ndim or not loss.isfinite():
            raise LawViolation("shapes", f"loss {name!r} is {loss.tolist()}: a loss is one finite number")
    for name, metric in mixed.metrics.items():
        if metric.requires_grad:
            raise LawViolation("shapes", f"metric {name!r} carries gradients: detach it, or it keeps the graph alive")


def _cause(running: TokenMixer, reads: Tensor, strange: Tensor, time: int) -> str:
    """The first single read that write `time` depends on and should not."""
    here = slice(time, time + 1)
    for s in range(time + 1, reads.shape[1]):
        changed = reads.clone()
        changed[:, s] = strange[:, s]
        if first_difference(write(running, changed)[:, here], write(running, reads)[:, here], "causality"):
            return f"read {s}"
    return "later reads, though on none of them alone"
