"""The precision of a model that continues texts."""

from operator import attrgetter

import torch
from torch import nn

from zoo.errors import UsageError
from zoo.model.backbone import Backbone
from zoo.model.linear import LARGE, Linear, pack

_PRECISIONS = ("fp32", "bf16")


def check_precision(precision: str) -> None:
    """Refuse a precision that there is not.

    Raises:
        UsageError: with those that there are.
    """
    if precision not in _PRECISIONS:
        raise UsageError(f"`precision`={precision} should be {' or '.join(_PRECISIONS)}")


def round_weights(model: Backbone, precision: str) -> None:
    """Round what a token reads of a model to a precision: the large matrices of linear layers, and large embeddings.

    What stands between the products is computed in float32, with parameters in float32: a decay of a state that is
    rounded to bfloat16 forgets at another rate. What a module names in ``in_float32`` stays as it is, too. The model
    can no longer be trained.

    Args:
        model: that continues texts.
        precision: ``"bf16"``; ``"fp32"`` leaves everything as it is.
    """
    if precision == "fp32":
        return
    model.rounded = True
    tables = (model.embedding, model.unembedding)
    kept = {part for module in model.modules() for name in _in_float32(module) for part in _submodules(module, name)}
    linears = [module for module in model.modules() if type(module) is Linear and module not in kept]
    for module in (*linears, *(table for table in tables if table is not None and table.weight.numel() >= LARGE)):
        _round(module)
    pack(model)


def _in_float32(module: nn.Module) -> frozenset[str]:
    return getattr(module, "in_float32", frozenset())


def _submodules(module: nn.Module, name: str) -> list[nn.Module]:
    """A child and all that is in it; none of a parameter or a buffer."""
    child = attrgetter(name)(module)
    return list(child.modules()) if isinstance(child, nn.Module) else []


def _round(module: nn.Linear | nn.Embedding) -> None:
    module.weight = nn.Parameter(module.weight.detach().to(torch.bfloat16), requires_grad=False)
