"""A hint for generated code: which small tensors are computed once and read from memory then."""

import torch
from torch import Tensor


def materialize(x: Tensor) -> Tensor:
    """The same tensor, which needs no gradient; code that torch.compile makes for a CPU computes it once.

    Left to itself the generator writes the formula of a small tensor into every loop that reads it: the cosine of an
    angle was computed for each sequence and head anew, which took longer than all the rest of a rotation.

    Args:
        x: of any shape.
    """
    if torch.compiler.is_compiling() and x.device.type == "cpu":
        copied: Tensor = _materialize(x)
        return copied
    return x


@torch.library.custom_op("mixers::materialize", mutates_args=())
def _materialize(x: Tensor) -> Tensor:
    return x.clone()


@_materialize.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)
