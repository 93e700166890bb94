"""The laws that every optimizer keeps, one function a law. They judge in float64, on copies."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import torch
from safetensors.torch import load, save
from torch import Tensor

from zoo.errors import PluginError
from zoo.plugin.isolation import random_numbers_kept
from zoo.testing.optimizers.case import OptimizerCase, Parameters
from zoo.testing.violation import LawViolation, NotApplicable
from zoo.train.optimizer import load_optimizer_tensors, optimizer_tensors
from zoo.train.parameter_groups import parameter_groups

FIRST = range(3)
"""The steps that a law makes before it looks, so that every average has something in it."""

NEXT = range(3, 6)

QUADRATIC_STEPS, CONDITION, SOLVED = 200, 100.0, 1e-2


@dataclass(frozen=True)
class OptimizerLaw:
    """A promise that every optimizer keeps.

    Args:
        id: stable: what an id stands for does not change; a law that says something else gets another one.
        promise: one sentence.
        bug: what goes wrong where it is broken, by an example from practice.
        check: looks at one case; raises `LawViolation` where the law is broken, `NotApplicable` where it says nothing.
    """

    id: str
    promise: str
    bug: str
    check: Callable[[OptimizerCase], None]


class Verdict(NamedTuple):
    """What a law says of an optimizer: `message` is what was seen, or why the law says nothing."""

    status: Literal["passed", "failed", "skipped"]
    message: str = ""


def judge(one: OptimizerLaw, case: OptimizerCase) -> Verdict:
    """Ask a law of an optimizer. Where the optimizer fails, the law is broken. Random numbers stay as they were."""
    try:
        with random_numbers_kept():
            one.check(case)
    except LawViolation as violation:
        return Verdict("failed", str(violation))
    except NotApplicable as reason:
        return Verdict("skipped", str(reason))
    except Exception as error:
        return Verdict("failed", f"it fails with {type(error).__name__}: {' '.join(str(error).split())}")
    return Verdict("passed")


_Check: TypeAlias = Callable[[OptimizerCase], None]


def _law(name: str, bug: str) -> Callable[[_Check], OptimizerLaw]:
    """Make a law of a function; the first paragraph of its docstring is the promise."""

    def make(check: _Check) -> OptimizerLaw:
        return OptimizerLaw(name, " ".join((check.__doc__ or "").split("\n\n")[0].split()), bug, check)

    return make


@_law(
    "quadratic",
    bug="A loop that forgets the parameters of one group: the loss falls, and ends above that of another optimizer.",
)
def quadratic(case: OptimizerCase) -> None:
    """At one of the learning rates, falling to zero, every parameter reaches the minimum of an ill-conditioned bowl."""
    worst = ("every parameter", math.inf)
    for lr in sorted(case.lrs, reverse=True):
        worst = min(worst, _left_of_quadratic(case, lr), key=lambda found: found[1])
        if worst[1] <= SOLVED:
            return
    tried = ", ".join(f"{lr:g}" for lr in case.lrs)
    raise LawViolation(
        f"{worst[0]} keeps {worst[1]:.2g} of its loss on a quadratic of condition {CONDITION:g} after "
        f"{QUADRATIC_STEPS} steps, at the best of the learning rates {tried}"
    )


def _left_of_quadratic(case: OptimizerCase, lr: float) -> tuple[str, float]:
    """The parameter that keeps the largest share of its loss, and that share; infinite where it is not finite."""
    training, targets = case.begin(), Parameters(case.seed + 1)
    for group in training.optimizer.param_groups:
        group["weight_decay"] = 0.0  # which would draw it away from the minimum
    first = _losses(training.model, targets)
    for number in range(QUADRATIC_STEPS):
        training.optimizer.zero_grad()
        torch.stack(list(_losses(training.model, targets).values())).sum().backward()
        training.update(number, lr * (1 + math.cos(math.pi * number / QUADRATIC_STEPS)) / 2)
    shares = {
        name: float(loss.detach() / first[name].detach()) for name, loss in _losses(training.model, targets).items()
    }
    left = {name: share if math.isfinite(share) else math.inf for name, share in shares.items()}
    worst = max(left, key=lambda name: left[name])
    return worst, left[worst]


def _losses(model: Parameters, targets: Parameters) -> dict[str, Tensor]:
    """Half the squared distances from the targets, each weighed by its curvature, from one down to 1 / CONDITION."""
    goals = dict(targets.named_parameters())
    losses = {}
    for name, parameter in model.named_parameters():
        curvature = torch.logspace(0, -math.log10(CONDITION), parameter.numel(), dtype=parameter.dtype)
        losses[name] = (curvature * (parameter - goals[name].detach()).flatten().square()).sum() / 2
    return losses


@_law(
    "checkpoint",
    bug="A counter of steps in an attribute of the optimizer: the run that goes on after a crash warms up once more, "
    "and ends elsewhere.",
)
def checkpoint(case: OptimizerCase) -> None:
    """A new optimizer that loads what a checkpoint holds goes on bit for bit as the one that was saved."""
    training = case.begin()
    training.run(FIRST, lr=case.lr)
    try:
        state = optimizer_tensors(training.model, training.optimizer)
    except PluginError as error:
        raise LawViolation(str(error)) from None
    saved = save({name: value.detach().clone() for name, value in state.items()})
    resumed = case.begin(copy.deepcopy(training.model))
    load_optimizer_tensors(resumed.model, resumed.optimizer, load(saved))
    for one in (training, resumed):
        one.run(NEXT, lr=case.lr / 2)
    if other := resumed.changed_since(training.values()):
        raise LawViolation(
            f"{', '.join(other)}: another value {len(NEXT)} steps after loading a checkpoint; what decides it is not "
            "in the state of each parameter"
        )


@_law(
    "no-decay",
    bug="The weight decay of the whole optimizer in place of the group's: gains and biases are drawn to zero.",
)
def no_decay(case: OptimizerCase) -> None:
    """With zero gradients the parameters of a group that decays shrink, and the others do not move."""
    training = case.begin()
    if "weight_decay" not in training.optimizer.defaults:
        raise NotApplicable("it has no weight decay")
    before = training.values()
    training.optimizer.zero_grad()
    for number in FIRST:
        for parameter in training.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        training.update(number, case.lr)
    decayed = _decayed(training.model)
    for name, value in training.values().items():
        if name not in decayed and not torch.equal(value, before[name]):
            raise LawViolation(f"{name} is not to decay, and moves without a gradient")
        if name in decayed and not bool((value.abs() < before[name].abs()).all()):
            raise LawViolation(f"{name} is to decay, and does not shrink where its gradient is zero")


def _decayed(model: Parameters) -> set[str]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, 1.0)
    return {names[parameter] for group in groups if group["weight_decay"] for parameter in group["params"]}


@_law(
    "determinism",
    bug="Noise from a generator that is seeded from the clock: two runs with one seed end apart.",
)
def determinism(case: OptimizerCase) -> None:
    """Under one seed, the same gradients move the same parameters bit for bit alike."""
    first, again = case.begin(), case.begin()
    for one in (first, again):
        one.run(FIRST, lr=case.lr)
    if other := again.changed_since(first.values()):
        raise LawViolation(f"{', '.join(other)}: another value when the same steps are made again under the same seed")


@_law(
    "idle-parameters",
    bug="Weight decay before the look at the gradient: the experts that were not chosen fade away.",
)
def idle_parameters(case: OptimizerCase) -> None:
    """A parameter that has no gradient is left as it is, whatever gradients it had; the others move."""
    training = case.begin()
    training.run(FIRST, lr=case.lr)
    before = training.values()
    idle = list(before)[::2]
    training.run(NEXT, lr=case.lr, idle=idle)
    changed = training.changed_since(before)
    if moved := [name for name in idle if name in changed]:
        raise LawViolation(f"{', '.join(moved)}: moved without a gradient")
    if still := [name for name in before if name not in [*idle, *changed]]:
        raise LawViolation(f"{', '.join(still)}: not moved by a gradient, where others have none")


@_law(
    "learning-rate",
    bug="A learning rate that is read once, when the optimizer is built: the schedule is printed, and does nothing.",
)
def learning_rate(case: OptimizerCase) -> None:
    """The learning rate of its group is what moves a parameter: at zero it stays, and the others go on."""
    count = len(case.begin().optimizer.param_groups)
    for still in range(count):
        training = case.begin()
        training.run(FIRST, lr=case.lr)
        before = training.values()
        groups = training.optimizer.param_groups
        for index, group in enumerate(groups):
            group["lr"] = 0.0 if index == still else case.lr
        names = {parameter: name for name, parameter in training.model.named_parameters()}
        held = {names[parameter] for parameter in groups[still]["params"]}
        training.run(NEXT)
        for name in before:
            moves = name in training.changed_since(before)
            if moves and name in held:
                raise LawViolation(f"{name} moves at a learning rate of zero")
            if not moves and name not in held:
                raise LawViolation(f"{name} does not move, where another group has a learning rate of zero")


LAWS: Mapping[str, OptimizerLaw] = {
    one.id: one for one in (quadratic, checkpoint, no_decay, determinism, idle_parameters, learning_rate)
}
"""By id."""
