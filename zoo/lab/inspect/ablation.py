"""What the model loses without one of its parts."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from zoo.contract import Mixed
from zoo.model.hooks import hook_write
from zoo.model.parts import Part
from zoo.model.stack import Stack


@contextmanager
def switched_off(model: Stack, part: Part) -> Iterator[None]:
    """Put zeros in the place of what a part writes; what else it says stays, and so do other places of its module.

    Args:
        model: an eager one.
        part: one of its parts.
    """
    hook = hook_write(model, part, _silence)
    try:
        yield
    finally:
        hook.remove()


def _silence(part: nn.Module, _reads: Any, written: Tensor | Mixed) -> Tensor | Mixed:
    silent = torch.zeros_like(Mixed.of(written, part).out)
    return replace(written, out=silent) if isinstance(written, Mixed) else silent
