"""The laws of `forward` as a function: what goes in, what comes out, and that nothing else matters."""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from zoo.contract import Mixed, TokenMixer, not_a_step, not_a_write
from zoo.testing.case import Case
from zoo.testing.law import law
from zoo.testing.running import both_modes, evaluating, in_dtype, modes, other_reads, seeded, stepped, streams, write
from zoo.testing.violation import LawViolation, NotApplicable, first_difference


@law(
    "shape",
    bug="A cumulative mean that drops the last token, or a mask made in float32 that turns a float64 model back.",
    sane=False,
)
def shape(case: Case) -> None:
    """A write has the shape, dtype and device of its read, for whole sequences, one row, one token, and pieces."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for dtype, device in [(torch.float64, device) for device in devices] + [(torch.float32, "cpu")]:
        reads = in_dtype(case.reads, dtype).to(device)
        for running in both_modes(copy.deepcopy(case.mixer).to(device, dtype)):
            for part in (reads, reads[:1], reads[:, :1], reads[:1, :1]):
                _check_write(case, "forward", running(part), part, dtype)
                if streams(running):
                    _check_write(case, "step", _first_of(running.step(part)), part, dtype)


def _first_of(stepped: object) -> object:
    if not isinstance(stepped, tuple) or len(stepped) != 2:
        raise LawViolation(not_a_step(stepped))
    return stepped[0]


def _check_write(case: Case, method: str, written: object, reads: Tensor, dtype: torch.dtype) -> None:
    written = written.out if isinstance(written, Mixed) else written
    if not isinstance(written, Tensor):
        raise LawViolation(not_a_write(written, method))
    shape = reads.shape if reads.is_floating_point() else (*reads.shape, written.shape[-1])
    if written.shape != shape:
        raise LawViolation(f"{method} writes {tuple(written.shape)} for reads of {tuple(reads.shape)}")
    if written.dtype != dtype or written.device != reads.device:
        kind = f"{written.dtype} on {written.device}"
        raise LawViolation(f"{method} writes {kind} for reads of {dtype} on {reads.device} {case.where(reads)}")


@law(
    "determinism",
    bug="`F.dropout(x, p)` without `self.training` stays active when text is generated; a cache kept in the module "
    "makes a text depend on the text before.",
)
def determinism(case: Case) -> None:
    """In evaluation mode the same reads give the same writes, whatever the random state and whatever came before."""
    running, reads = evaluating(case.mixer), case.reads
    written = write(running, reads, seed=0)
    write(running, other_reads(case.longer(2 * reads.shape[1] + 3)))
    again = write(running, reads, seed=1)
    if found := first_difference(again, written):
        text = f"write {found.time} is another one when the same reads come again {case.where(reads)}"
        raise LawViolation(f"{text}: {found}")


@law(
    "seeded",
    bug="Dropout masks from `random.random()` or from an unseeded generator: no run can be repeated.",
)
def seeded_training(case: Case) -> None:
    """Training under a seed gives the same writes again."""
    reads, (running, fresh) = case.reads, (copy.deepcopy(case.mixer).train() for _ in range(2))
    written = write(running, reads)
    for name, again in (("run", write(fresh, reads)), ("call", write(running, reads))):
        if found := first_difference(again, written):
            text = f"write {found.time} is another one in a second {name} with one seed {case.where(reads, running)}"
            raise LawViolation(f"{text}: {found}; draw with torch's global random state")


@law(
    "purity",
    bug="`x += position` in place: every mixer that reads the same stream after this one reads something else.",
)
def purity(case: Case) -> None:
    """Writing changes neither the reads nor a parameter nor a buffer, nor what was written before."""
    reads = case.reads
    for running in both_modes(case.mixer):
        before = {name: value.clone() for name, value in _tensors(running)}
        given = reads.clone()
        for method, run in _methods(running).items():
            run(running, given)
            if not torch.equal(given, reads):
                raise LawViolation(f"{method} changes its own reads {case.where(reads, running)}")
        with seeded(0), torch.no_grad():
            earlier = Mixed.of(running(reads)).out
            kept = earlier.clone()
            running(other_reads(reads))
        if first_difference(earlier, kept):
            raise LawViolation(f"forward changes what it wrote the time before {case.where(reads, running)}")
        for name, value in _tensors(running):
            if name not in before or not torch.equal(value, before[name]):
                raise LawViolation(f"forward changes {name} {case.where(reads, running)}")


def _tensors(mixer: TokenMixer) -> Iterator[tuple[str, Tensor]]:
    yield from mixer.named_parameters()
    yield from mixer.named_buffers()


@law(
    "layout",
    bug="`x.view(...)` works until a neighbour hands over a transposed tensor; `as_strided` then reads other numbers.",
)
def layout(case: Case) -> None:
    """Reads that lie otherwise in memory, transposed or with gaps, give the same writes."""
    running, reads = evaluating(case.mixer), case.reads
    for method, run in _methods(running).items():
        written = run(running, reads)
        for name, view in _views(reads).items():
            if found := first_difference(run(running, view), written):
                text = f"write {found.time} of {method} is another one when the reads are {name} {case.where(reads)}"
                raise LawViolation(f"{text}: {found}")


def _views(reads: Tensor) -> dict[str, Tensor]:
    """The same reads, otherwise in memory."""
    gaps = torch.stack([reads, other_reads(reads)], dim=2)
    return {
        "laid out time first": reads.transpose(0, 1).contiguous().transpose(0, 1),
        "laid out channels first": reads.transpose(1, -1).contiguous().transpose(1, -1),
        "every second row of a larger tensor": gaps[:, :, 0],
    }


def _methods(running: TokenMixer) -> dict[str, Callable[[TokenMixer, Tensor], Tensor]]:
    """The ways to write whole sequences."""
    return {"forward": write, "step": _stepped} if streams(running) else {"forward": write}


@torch.no_grad()
def _stepped(running: TokenMixer, reads: Tensor) -> Tensor:
    return stepped(running, reads)[0]


@law(
    "losses",
    bug="A load-balancing loss that is detached: it shows in the log, and no router ever learns from it.",
)
def losses(case: Case) -> None:
    """Auxiliary losses are finite scalars with a gradient, whatever the order of the rows; metrics are detached."""
    reads = case.reads if case.reads.shape[0] > 1 else case.reads.repeat(2, *(1 for _ in case.reads.shape[1:]))
    said = False
    for running in modes(case.mixer, reads):
        mixed, turned = Mixed.of(running(reads)), Mixed.of(running(reads.flip(0)))
        said = said or bool(mixed.losses or mixed.metrics)
        for name, loss in mixed.losses.items():
            if loss.ndim or not loss.isfinite():
                raise LawViolation(f"loss {name!r} is {loss.tolist()}, not one finite number {case.where(reads)}")
            if not loss.requires_grad:
                raise LawViolation(f"loss {name!r} has no gradient: nothing learns from it {case.where(reads)}")
            if found := first_difference(turned.losses[name].view(1, 1, 1), loss.view(1, 1, 1)):
                text = f"loss {name!r} changes with the order of the rows {case.where(reads, running)}"
                raise LawViolation(f"{text}: {found}")
        for name, metric in mixed.metrics.items():
            if metric.requires_grad:
                raise LawViolation(f"metric {name!r} carries gradients: detach it, or it keeps the graph alive")
    if not said:
        raise NotApplicable("it says nothing beside its writes")
