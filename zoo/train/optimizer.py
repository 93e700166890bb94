"""AdamW with decay on matrices only, and the learning rate of every step."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zoo.train.settings import Settings


def make_optimizer(model: nn.Module, settings: Settings) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101); gains, biases and other vectors are not decayed."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        fused=settings.device != "mps",
    )


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
    """After how many updates the decay of ``wsd`` begins; None for the other schedules.

    A run that has made no more of them is the same as one that was given a later last step from its start.
    """
    if settings.schedule != "wsd":
        return None
    return settings.steps - max(1, round(settings.steps * settings.decay))


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors: ``<parameter>|<quantity>``."""
    return {
        f"{name}|{quantity}": value
        for name, parameter in model.named_parameters()
        for quantity, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        name, quantity = key.rsplit("|", 1)
        optimizer.state[parameters[name]][quantity] = value.clone()
