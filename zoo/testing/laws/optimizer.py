"""The laws of optimizers. They judge in float64, on parameters of every kind that a model has."""

import copy
import math
from collections.abc import Mapping

import torch
from safetensors.torch import load, save
from torch import Tensor

from zoo.errors import PluginError
from zoo.testing.law import Law, by_id, law
from zoo.testing.laws import member, options
from zoo.testing.optimizer import FIRST, LR, OptimizerCase, Parameters
from zoo.testing.violation import LawViolation, NotApplicable
from zoo.train.optimizer import load_optimizer_tensors, optimizer_tensors
from zoo.train.parameter_groups import parameter_groups

NEXT = range(3, 6)

LRS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Learning rates of which one solves a quadratic. What a learning rate means is for the optimizer to say."""

QUADRATIC_STEPS, CONDITION, SOLVED = 200, 100.0, 1e-2


@law(
    "quadratic",
    bug="A loop that forgets the parameters of one group: the loss falls, and ends above that of another optimizer.",
    limit=1,
    sane=False,
)
def quadratic(case: OptimizerCase) -> None:
    """At one of the learning rates, falling to zero, every parameter reaches the minimum of an ill-conditioned bowl."""
    worst = ("every parameter", math.inf)
    for lr in sorted(LRS, reverse=True):
        worst = min(worst, _left_of_quadratic(case, lr), key=lambda found: found[1])
        if worst[1] <= SOLVED:
            return
    tried = ", ".join(f"{lr:g}" for lr in LRS)
    raise LawViolation(
        f"{worst[0]} keeps {worst[1]:.2g} of its loss on a quadratic of condition {CONDITION:g} after "
        f"{QUADRATIC_STEPS} steps, at the best of the learning rates {tried}"
    )


def _left_of_quadratic(case: OptimizerCase, lr: float) -> tuple[str, float]:
    """The parameter that keeps the largest share of its loss, and that share; infinite where it is not finite."""
    training, bowls = case.begin(), _bowls(Parameters(case.seed + 1))
    for group in training.optimizer.param_groups:
        group["weight_decay"] = 0.0  # which would draw it away from the minimum
    first = _losses(training.model, bowls)
    for number in range(QUADRATIC_STEPS):
        if not _fall(training.model, bowls):
            return "every parameter", math.inf
        training.update(number, lr * (1 + math.cos(math.pi * number / QUADRATIC_STEPS)) / 2)
    last = _losses(training.model, bowls)
    shares = {name: float(loss.detach() / first[name].detach()) for name, loss in last.items()}
    left = {name: share if math.isfinite(share) else math.inf for name, share in shares.items()}
    worst = max(left, key=lambda name: left[name])
    return worst, left[worst]


def _bowls(targets: Parameters) -> dict[str, tuple[Tensor, Tensor]]:
    """The minimum of each parameter, and the curvature of each of its numbers, from one down to 1 / CONDITION."""
    return {
        name: (goal.detach(), torch.logspace(0, -math.log10(CONDITION), goal.numel(), dtype=goal.dtype))
        for name, goal in targets.named_parameters()
    }


@torch.no_grad()
def _fall(model: Parameters, bowls: Mapping[str, tuple[Tensor, Tensor]]) -> bool:
    """Give each parameter the gradient of its loss, which needs no autograd; False once one is not finite."""
    for name, parameter in model.named_parameters():
        goal, curvature = bowls[name]
        parameter.grad = curvature.view_as(goal) * (parameter - goal)
    return all(bool(parameter.isfinite().all()) for parameter in model.parameters())


def _losses(model: Parameters, bowls: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Half the squared distances from the minima, each weighed by its curvature."""
    losses = {}
    for name, parameter in model.named_parameters():
        goal, curvature = bowls[name]
        losses[name] = (curvature * (parameter - goal).flatten().square()).sum() / 2
    return losses


@law(
    "checkpoint",
    bug="A counter of steps in an attribute of the optimizer: the run that goes on after a crash warms up once more, "
    "and ends elsewhere.",
)
def checkpoint(case: OptimizerCase) -> None:
    """A new optimizer that loads what a checkpoint holds goes on bit for bit as the one that was saved."""
    training = case.begin()
    training.run(FIRST, lr=LR)
    try:
        state = optimizer_tensors(training.model, training.optimizer)
    except PluginError as error:
        raise LawViolation(str(error)) from None
    saved = save({name: value.detach().clone() for name, value in state.items()})
    resumed = case.begin(copy.deepcopy(training.model))
    load_optimizer_tensors(resumed.model, resumed.optimizer, load(saved))
    for one in (training, resumed):
        one.run(NEXT, lr=LR / 2)
    if other := resumed.changed_since(training.values()):
        raise LawViolation(
            f"{', '.join(other)}: another value {len(NEXT)} steps after loading a checkpoint; what decides it is not "
            "in the state of each parameter"
        )


@law(
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
        training.update(number, LR)
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


@law(
    "determinism",
    bug="Noise from a generator that is seeded from the clock: two runs with one seed end apart.",
)
def determinism(case: OptimizerCase) -> None:
    """Under one seed, the same gradients move the same parameters bit for bit alike."""
    first, again = case.begin(), case.begin()
    for one in (first, again):
        one.run(FIRST, lr=LR)
    if other := again.changed_since(first.values()):
        raise LawViolation(f"{', '.join(other)}: another value when the same steps are made again under the same seed")


@law(
    "idle-parameters",
    bug="Weight decay before the look at the gradient: the experts that were not chosen fade away.",
)
def idle_parameters(case: OptimizerCase) -> None:
    """A parameter that has no gradient is left as it is, whatever gradients it had; the others move."""
    training = case.begin()
    training.run(FIRST, lr=LR)
    before = training.values()
    idle = list(before)[::2]
    training.run(NEXT, lr=LR, idle=idle)
    changed = training.changed_since(before)
    if moved := [name for name in idle if name in changed]:
        raise LawViolation(f"{', '.join(moved)}: moved without a gradient")
    if still := [name for name in before if name not in [*idle, *changed]]:
        raise LawViolation(f"{', '.join(still)}: not moved by a gradient, where others have none")


@law(
    "learning-rate",
    bug="A learning rate that is read once, when the optimizer is built: the schedule is printed, and does nothing.",
)
def learning_rate(case: OptimizerCase) -> None:
    """The learning rate of its group is what moves a parameter: at zero it stays, and the others go on."""
    count = len(case.begin().optimizer.param_groups)
    for still in range(count):
        training = case.begin()
        training.run(FIRST, lr=LR)
        before = training.values()
        groups = training.optimizer.param_groups
        for index, group in enumerate(groups):
            group["lr"] = 0.0 if index == still else LR
        names = {parameter: name for name, parameter in training.model.named_parameters()}
        still_ones = {names[parameter] for parameter in groups[still]["params"]}
        training.run(NEXT)
        for name in before:
            moves = name in training.changed_since(before)
            if moves and name in still_ones:
                raise LawViolation(f"{name} moves at a learning rate of zero")
            if not moves and name not in still_ones:
                raise LawViolation(f"{name} does not move, where another group has a learning rate of zero")


OPTIMIZER_LAWS: Mapping[str, Law] = by_id(
    [
        quadratic,
        checkpoint,
        no_decay,
        determinism,
        idle_parameters,
        learning_rate,
        options.options_round_trip,
        member.options_refused,
        options.docstring,
        options.paper,
    ]
)
"""By id."""
