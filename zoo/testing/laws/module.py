"""The laws of a mixer as a module: how it is initialised, saved, copied, moved and recomputed."""

import copy
import shutil
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from zoo.contract import ChannelMixer, Mixed, TokenMixer
from zoo.model.metrics import combine_metrics
from zoo.model.parameters import reinitialize
from zoo.testing.case import Case
from zoo.testing.law import law
from zoo.testing.running import evaluating, in_dtype, objective, other_reads, seeded, write
from zoo.testing.violation import LawViolation, NotApplicable, apart, first_difference

DRAWS, ALIKE = 8, 4.0
"""So often a parameter is drawn to compare its size. Sizes of so many draws differ by no larger factor: that is five
standard deviations for a single normal number."""


@law(
    "state-dict",
    bug="Random features in a plain tensor or in a buffer with persistent=False: the saved model loads without a "
    "word, and writes noise.",
    limit=15,
)
def state_dict(case: Case) -> None:
    """What is saved loads strictly into a fresh mixer, which then writes the same; a copy shares nothing."""
    reads = case.reads
    original = case.build().double().eval()
    twin = copy.deepcopy(original)
    before = write(twin, reads)
    with torch.no_grad():
        for value in original.parameters():
            value.add_(1)
    if found := first_difference(write(twin, reads), before):
        text = f"write {found.time} of a deep copy changes with the original {case.where(reads)}"
        raise LawViolation(f"{text}: {found}")
    mixer = _updated(case)
    written = write(mixer, reads)
    fresh = case.build(seed=case.seed + 1).double().eval()
    try:
        fresh.load_state_dict(mixer.state_dict(), strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise LawViolation(f"its state dict does not load into a fresh mixer: {reason}") from None
    if found := first_difference(write(fresh, reads), written):
        text = f"write {found.time} of a fresh mixer that loaded the state dict is another one {case.where(reads)}"
        raise LawViolation(f"{text}: {found}; what decides it is not saved")


def _updated(case: Case) -> TokenMixer:
    """A copy that has learned from its own metrics, as the training loop lets it after each step."""
    mixer = copy.deepcopy(case.mixer).train()
    for _ in range(3 if isinstance(mixer, TokenMixer | ChannelMixer) else 0):
        with torch.no_grad():
            mixer.after_update(dict(Mixed.of(mixer(case.reads)).metrics))
    return mixer.eval()


@law(
    "initialisation",
    bug="Weights from numpy's random numbers: the seed of a run says nothing about where it began.",
    limit=10,
)
def initialisation(case: Case) -> None:
    """Built twice under one seed, a mixer starts with the same parameters and buffers."""
    first, again = _tensors(case.build()), _tensors(case.build())
    for name, value in first.items():
        if not torch.equal(value, again[name]):
            raise LawViolation(f"{name} starts otherwise when it is built again under the same seed")


@law(
    "meta-device",
    bug="A buffer that is filled in __init__: on a large model, which is built without memory and drawn later, it "
    "holds whatever lay there.",
    grade="finish",
    limit=10,
)
def meta_device(case: Case) -> None:
    """Built without memory, given it, and drawn by `reset_parameters`, a mixer is the one that was built with it."""
    with torch.device("meta"):
        late = case.build()
    late = late.to_empty(device="cpu")
    with torch.no_grad():
        for value in _tensors(late).values():
            value.fill_(torch.nan if value.is_floating_point() else -1)
    early = case.build()
    for mixer in (late, early):
        with torch.random.fork_rng(devices=[]):
            reinitialize(mixer, case.seed)
    expected = _tensors(early)
    for name, value in _tensors(late).items():
        if not torch.equal(value, expected[name]):
            raise LawViolation(f"{name} is not drawn by any reset_parameters() {case.where(case.reads)}")
    reads = in_dtype(case.reads, torch.float32)
    if found := first_difference(write(late.eval(), reads), write(early.eval(), reads)):
        text = f"write {found.time} of a mixer built on the meta device is another one {case.where(reads)}"
        raise LawViolation(f"{text}: {found}")
    _check_scales(case, late)


def _check_scales(case: Case, late: TokenMixer) -> None:
    """Whether drawing anew undoes what a constructor gave a submodule after that had drawn itself."""
    built = [_tensors(case.build(seed)) for seed in range(DRAWS)]
    drawn = []
    with torch.random.fork_rng(devices=[]):
        for seed in range(DRAWS):
            reinitialize(late, seed)
            drawn.append({name: value.detach().clone() for name, value in _tensors(late).items()})
    for name, value in built[0].items():
        if all(torch.equal(other[name], value) for other in built):
            same = all(torch.equal(other[name], value) for other in drawn)
        elif value.is_floating_point():
            size, again = (float(torch.stack([of[name].detach() for of in draws]).norm()) for draws in (built, drawn))
            same = size / ALIKE <= again <= size * ALIKE
        else:
            continue
        if not same:
            text = f"{name} starts otherwise when reset_parameters() draws it than when the mixer is built"
            raise LawViolation(f"{text} {case.where(case.reads)}")


def _tensors(mixer: TokenMixer) -> dict[str, Tensor]:
    """Parameters and buffers, those that are not saved among them."""
    return {**dict(mixer.named_parameters()), **dict(mixer.named_buffers())}


@law(
    "buffers-agree",
    bug="Counts that are kept in forward: of two processes that train one model each counts its own half of a batch, "
    "and their routers drift apart.",
    limit=10,
)
def buffers_agree(case: Case) -> None:
    """Where several processes train it on reads of their own, `after_update` with the metrics of all of them gives each
    the same buffers.
    """
    ranks = [copy.deepcopy(case.mixer).train() for _ in range(2)]
    saved = ranks[0].state_dict().keys()
    buffers = [{name: value for name, value in mixer.named_buffers() if name in saved} for mixer in ranks]
    if not buffers[0]:
        raise NotApplicable("it saves no buffers")
    measured = []
    for number, mixer in enumerate(ranks):
        with seeded(number), torch.no_grad():
            measured.append(dict(Mixed.of(mixer(other_reads(case.reads, seed=number)), mixer).metrics))
    metrics = combine_metrics(measured)
    for mixer in ranks:
        if callable(after_update := getattr(mixer, "after_update", None)):
            with seeded(case.seed):
                after_update(dict(metrics))
    for name, value in buffers[0].items():
        if not torch.equal(value, buffers[1][name]):
            text = f"{name} depends on the reads of a process otherwise than by its metrics"
            raise LawViolation(f"{text} {case.where(case.reads)}")


@law(
    "checkpointing",
    bug="An auxiliary loss collected in a global list: recomputed in the backward pass, it is counted twice.",
    limit=15,
)
def checkpointing(case: Case) -> None:
    """Activation checkpointing changes neither the writes nor the losses nor any gradient."""
    plain = _trained(case, recompute=False)
    if any(not gradient.isfinite().all() for gradient in plain.gradients.values()):
        raise NotApplicable("its gradient is not finite: see gradients")
    again = _trained(case, recompute=True)
    for part in ("written", "losses", "gradients"):
        for name, value in getattr(plain, part).items():
            if difference := apart(getattr(again, part)[name], value):
                text = f"{name} is another one when it is recomputed in the backward pass"
                raise LawViolation(f"{text} {case.where(case.reads)}: |Δ| = {difference:.2g}")


class _Trained(NamedTuple):
    """What a training step sees of a mixer, each part by name."""

    written: dict[str, Tensor]
    losses: dict[str, Tensor]
    gradients: dict[str, Tensor]


def _trained(case: Case, *, recompute: bool) -> _Trained:
    """Forward and backward of a fresh copy in training mode, under a seed."""
    running = copy.deepcopy(case.mixer).train()
    reads = case.reads.clone().requires_grad_() if case.reads.is_floating_point() else case.reads

    def run(x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        mixed = Mixed.of(running(x))
        return mixed.out, dict(mixed.losses)

    with seeded(0):
        out, losses = checkpoint(run, reads, use_reentrant=False) if recompute else run(reads)
        value = objective(Mixed(out, losses))
        if value.requires_grad:
            value.backward()
    asked = {**dict(running.named_parameters()), "the reads": reads}
    gradients = {f"the gradient of {name}": at.grad for name, at in asked.items() if at.grad is not None}
    named = {f"loss {name!r}": loss.detach() for name, loss in losses.items()}
    return _Trained({"the write": out.detach()}, named, gradients)


COMPILED_LENGTHS = (7, 33)
"""Not longer: inductor itself, of torch 2.13 on a CPU, gives recurrences unrolled over 65 steps a wrong gradient."""


@law(
    "compile",
    bug="`.item()` in forward, or a branch on the data: torch.compile breaks the graph there, without a word, and the "
    "speed that was promised is gone.",
    limit=1,
    thorough=True,
)
def compiles(case: Case) -> None:
    """torch.compile takes it whole (fullgraph=True), and what it traced has the same writes and gradients, at two
    lengths. No code is generated: the law `inductor` does that.
    """
    _check_compiled(case, "aot_eager")


@law(
    "inductor",
    bug="An operation for which torch.compile generates wrong code, or none: training with `compile` fails, or learns "
    "something else.",
    limit=1,
    thorough=True,
)
def inductor(case: Case) -> None:
    """The code that torch.compile generates changes neither writes nor gradients, at two lengths."""
    if not shutil.which("c++") and not shutil.which("g++") and not shutil.which("clang++"):
        raise NotApplicable("torch.compile needs a C++ compiler, and there is none here")
    _check_compiled(case, "inductor")


def _check_compiled(case: Case, backend: str) -> None:
    running = evaluating(case.mixer)
    torch._dynamo.reset()
    try:
        compiled = torch.compile(running, fullgraph=True, backend=backend)
        for time in COMPILED_LENGTHS:
            reads = case.longer(time)
            given = [reads.clone().requires_grad_(reads.is_floating_point()) for _ in range(2)]
            plain, fast = Mixed.of(running(given[0])).out, Mixed.of(compiled(given[1])).out
            if found := first_difference(fast.detach(), plain.detach()):
                raise LawViolation(f"compiled, write {found.time} is another one {case.where(reads)}: {found}")
            if difference := apart(_slope(fast, given[1]), _slope(plain, given[0])):
                text = f"compiled, the gradient of the reads is another one {case.where(reads)}"
                raise LawViolation(f"{text}: |Δ| = {difference:.2g}")
    finally:
        torch._dynamo.reset()


def _slope(written: Tensor, reads: Tensor) -> Tensor:
    """The gradient of the reads; zero where none reaches them."""
    if not (written.requires_grad and reads.requires_grad):
        return torch.zeros(reads.shape)
    got: tuple[Tensor | None, ...] = torch.autograd.grad(objective(Mixed(written)), reads, allow_unused=True)
    return torch.zeros_like(reads) if got[0] is None else got[0]
