"""What the model loses without one of its parts."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.backbone import IGNORE, Backbone
from zoo.contract import Mixed


@dataclass(frozen=True)
class Score:
    """How well a model predicts.

    Attributes:
        loss: the cross-entropy, in nats per target.
        accuracy: the share of the targets that the model holds most likely.
        targets: how many were scored.
    """

    loss: float
    accuracy: float
    targets: int


@contextmanager
def switched_off(part: nn.Module) -> Iterator[None]:
    """Put zeros in the place of what a part writes; what else it says stays.

    Args:
        part: a token mixer or a channel mixer of an eager model.
    """
    hook = part.register_forward_hook(_silence)
    try:
        yield
    finally:
        hook.remove()


@torch.no_grad()
def score(model: Backbone, batches: Iterable[tuple[Tensor, Tensor]]) -> Score:
    """Ask a model to predict the targets of the batches.

    Args:
        model: in evaluation mode.
        batches: inputs and targets, ``(b, t)`` each; targets of -100 are not scored, and one at least is.
    """
    device = next(model.parameters()).device
    loss, right, count = 0.0, 0, 0
    for inputs, targets in batches:
        logits, wanted = model(inputs.to(device)).logits.flatten(0, 1).float(), targets.to(device).flatten()
        loss += F.cross_entropy(logits, wanted, ignore_index=IGNORE, reduction="sum").item()
        right += int((logits.argmax(-1) == wanted).sum())
        count += int((wanted != IGNORE).sum())
    return Score(loss / count, right / count, count)


def _silence(_part: nn.Module, _reads: Any, written: Tensor | Mixed) -> Tensor | Mixed:
    if isinstance(written, Mixed):
        return replace(written, out=torch.zeros_like(written.out))
    return torch.zeros_like(written)
