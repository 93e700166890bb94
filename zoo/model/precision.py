"""The precision of a model that continues texts."""

import torch

from zoo.errors import UsageError
from zoo.model.backbone import Backbone

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

_LAW = "precision"
"""Of `zoo check`: in bfloat16 a part computes what it computes in float64, but for rounding."""


def check_precision(precision: str) -> None:
    """Refuse a precision that there is not.

    Raises:
        UsageError: with those that there are.
    """
    if precision not in _DTYPES:
        raise UsageError(f"`precision`={precision} should be {' or '.join(_DTYPES)}")


def round_weights(model: Backbone, precision: str) -> None:
    """Round the weights of a model, and all else in it that is a float, to a precision.

    A module that needs more keeps it in its ``_apply``, through which every cast goes, as a router keeps its bias.

    Raises:
        UsageError: one of its parts declares that it does not keep the law of that.
    """
    if precision == "fp32":
        return
    for part in (model.residual, *(place.part for layer in model.each_layer() for place in layer.places())):
        if _LAW in getattr(part, "expected_failures", ()):
            raise UsageError(f"{type(part).__name__} declares that it fails the law {_LAW!r}: take `precision`=fp32")
    model.to(_DTYPES[precision])
