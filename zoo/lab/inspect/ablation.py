"""What the model loses without one of its parts."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from zoo.contract import Mixed


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


def _silence(part: nn.Module, _reads: Any, written: Tensor | Mixed) -> Tensor | Mixed:
    silent = torch.zeros_like(Mixed.of(written, part).out)
    return replace(written, out=silent) if isinstance(written, Mixed) else silent
