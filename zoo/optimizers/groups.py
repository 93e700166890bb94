"""Parameter groups, in whichever form an optimizer was given them."""

from collections.abc import Iterable
from typing import Any, TypeAlias

from torch import Tensor

Group: TypeAlias = dict[str, Any]
"""``{"params": [...], "weight_decay": w, "role": "matrix" | "embedding" | "vector"}``, and what an optimizer adds."""


def as_groups(params: Iterable[Tensor] | Iterable[Group]) -> list[Group]:
    """The parameters as groups; tensors without one become a single group that says nothing of itself."""
    given = list(params)
    groups = [group for group in given if isinstance(group, dict)]
    loose = [tensor for tensor in given if not isinstance(tensor, dict)]
    return groups + ([{"params": loose}] if loose else [])


def can_fuse(groups: Iterable[Group]) -> bool:
    """Whether one fused kernel may update all of them."""
    return all(tensor.device.type != "mps" for group in groups for tensor in group["params"])
