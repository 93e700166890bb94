"""The optimizer of a run, found by its name, built on the groups of a model, saved as tensors; the learning rate."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from zoo.errors import PluginError
from zoo.model.create import create
from zoo.model.tracebacks import describe_cause
from zoo.plugin.kinds import OPTIMIZER
from zoo.plugin.pattern import Call, parse_call
from zoo.plugin.registry import Registry, get_registry
from zoo.train.parameter_groups import parameter_groups
from zoo.train.settings import Settings

_OF_ADAMW = {"step", "exp_avg", "exp_avg_sq"}
"""What torch keeps of each parameter that it has updated."""


def make_optimizer(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """The optimizer that the settings name, on the parameters of a model.

    Raises:
        UsageError, PluginError: as `create_optimizer`.
    """
    return _make(parameter_groups(model, settings.weight_decay), settings)


def create_optimizer(
    optimizer: str | Call,
    groups: list[dict[str, Any]],
    *,
    lr: float,
    weight_decay: float,
    registry: Registry | None = None,
) -> torch.optim.Optimizer:
    """An optimizer from its name and options, e.g. ``"muon(momentum=0.95)"``.

    Args:
        optimizer: a name, with options in parentheses if any.
        groups: of parameters, as `parameter_groups` gives them.
        lr: the learning rate of every group.
        weight_decay: of the groups that have none of their own.
        registry: where to look; the installed plugins by default.

    Raises:
        UsageError: an unknown name or option, or a value that the optimizer refuses.
        PluginError: its plugin is broken or missing, or the optimizer itself fails.
    """
    call = parse_call(optimizer) if isinstance(optimizer, str) else optimizer
    entry = (registry or get_registry())[OPTIMIZER].find(call.name)
    made = create(entry, call.keywords, params=groups, lr=lr, weight_decay=weight_decay)
    return cast(torch.optim.Optimizer, made)


def check_optimizer(settings: Settings) -> None:
    """Refuse an optimizer that cannot train, before a model is built.

    Raises:
        UsageError, PluginError: as `create_optimizer`, and as `state_bytes`.
    """
    device = "cpu" if settings.device == "auto" else settings.device
    for role, shape in (("matrix", (3, 2)), ("embedding", (3, 2)), ("vector", (2,))):
        _measure({"params": [torch.ones(shape, device=device)], "weight_decay": 0.0, "role": role}, settings)


def state_bytes(model: nn.Module, settings: Settings) -> int:
    """How many bytes the optimizer keeps beside the parameters and their gradients, measured.

    It makes a step with a copy of each parameter alone, once for each shape.

    Raises:
        PluginError: the optimizer fails in its first step, or keeps what no checkpoint can hold.
    """
    sizes: dict[tuple[Any, ...], int] = {}
    total = 0
    for group in parameter_groups(model, settings.weight_decay):
        for parameter in group["params"]:
            key = (group["role"], parameter.shape, parameter.dtype)
            if key not in sizes:
                sizes[key] = _measure(group | {"params": [parameter.detach().clone()]}, settings)
            total += sizes[key]
    return total


def learning_rate(settings: Settings, step: int) -> float:
    """The learning rate of the update that follows `step` updates.

    Linear warm-up, then by the schedule: ``cosine``, a half cosine; ``constant``; or ``wsd``, warm-up, stable, decay
    (Hu et al. 2024, arXiv:2404.06395), whose decay is one minus a square root (Hägele et al. 2024, arXiv:2405.18392).
    Up to the decay the latter two do not depend on the number of steps.
    """
    final = settings.lr * settings.lr_final
    if settings.schedule != "cosine":
        warmed = settings.lr * min(1.0, (step + 1) / (settings.warmup + 1))
        begin = decay_begins(settings)
        if begin is None or step < begin:
            return warmed
        progress = min(1.0, (step + 1 - begin) / max(1, settings.steps - begin))
        return min(warmed, final + (settings.lr - final) * (1 - math.sqrt(progress)))
    warmup = min(settings.warmup, settings.steps // 2)
    if step < warmup:
        return settings.lr * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, settings.steps - 1 - warmup)
    return final + (settings.lr - final) * (1 + math.cos(math.pi * min(1.0, progress))) / 2


def decay_begins(settings: Settings) -> int | None:
    """After how many updates the decay of ``wsd`` starts; None for the other schedules.

    A run that has made no more of them is the same as one that was given a later last step from its start.
    """
    if settings.schedule != "wsd":
        return None
    return settings.steps - max(1, round(settings.steps * settings.decay))


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors: ``<parameter>|<quantity>``.

    Raises:
        PluginError: it keeps something that is no tensor, which a checkpoint does not hold.
    """
    return {
        f"{name}|{quantity}": value
        for name, parameter in model.named_parameters()
        for quantity, value in _state_of(optimizer, parameter)
    }


def load_optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave.

    Raises:
        KeyError: of a parameter that the model has not.
        ValueError: of another shape or type than an optimizer of torch has it.
    """
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        name, _, quantity = key.rpartition("|")
        _check_state(optimizer, parameters[name], key, value)
        optimizer.state[parameters[name]][quantity] = value.clone()
    if isinstance(optimizer, torch.optim.AdamW):
        for parameter in optimizer.state:
            if missing := _OF_ADAMW - optimizer.state[parameter].keys():
                raise ValueError(f"the optimizer's {', '.join(sorted(missing))} of a parameter is missing")


def _check_state(optimizer: torch.optim.Optimizer, parameter: Tensor, key: str, value: Tensor) -> None:
    """Torch's fused kernels take state as it is, and read beyond its end where it is smaller than the parameter."""
    if not isinstance(optimizer, torch.optim.AdamW | torch.optim.SGD):
        return
    shape, dtype = ((), torch.float32) if key.endswith("|step") else (parameter.shape, parameter.dtype)
    if value.shape != shape or value.dtype != dtype:
        raise ValueError(f"{key} is {value.dtype} of shape {tuple(value.shape)} in the checkpoint")


def _make(groups: list[dict[str, Any]], settings: Settings) -> torch.optim.Optimizer:
    return create_optimizer(settings.optimizer_call, groups, lr=settings.lr, weight_decay=settings.weight_decay)


def _measure(group: dict[str, Any], settings: Settings) -> int:
    """The bytes of state after a step of the optimizer on a group of one tensor alone."""
    parameter = nn.Parameter(group["params"][0])
    optimizer = _make([group | {"params": [parameter]}], settings)
    parameter.grad = torch.zeros_like(parameter)
    before = [dict(group) for group in optimizer.param_groups]
    try:
        optimizer.step()
    except Exception as error:
        cause = describe_cause(error, type(optimizer))
        raise PluginError(f"the optimizer {settings.optimizer} failed in its first step: {cause}") from error
    for old, new in zip(before, optimizer.param_groups, strict=True):
        if changed := [name for name in new if name != "params" and not _same(old.get(name), new[name])]:
            raise PluginError(
                f"{type(optimizer).__name__} keeps {changed[0]!r} in its parameter groups, which no checkpoint holds: "
                "keep it as a tensor in the state of each parameter"
            )
    return sum(value.nbytes for _, value in _state_of(optimizer, parameter))


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, Tensor) and isinstance(new, Tensor):
        return torch.equal(old, new)
    return old is new or bool(old == new)


def _state_of(optimizer: torch.optim.Optimizer, parameter: Tensor) -> Iterator[tuple[str, Tensor]]:
    for quantity, value in optimizer.state.get(parameter, {}).items():
        if not isinstance(value, Tensor):
            raise PluginError(
                f"{type(optimizer).__name__} keeps {quantity!r} of each parameter as {type(value).__name__}, and a "
                "checkpoint holds tensors only: keep it as a tensor"
            )
        yield str(quantity), value
