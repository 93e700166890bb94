"""Which parameters of a model an optimizer treats alike: by what they are, and by whether they decay."""

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

from torch import nn

Role: TypeAlias = Literal["matrix", "embedding", "vector"]

EMBEDDINGS = ("embedding", "positions", "unembedding")
"""Parts of a model that hold a vector for each token or position."""


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trained parameters of a model as groups for an optimizer, each parameter once.

    Args:
        model: a parameter that several of its modules share is what the strictest of them says.
        weight_decay: of all but vectors.

    Returns:
        Up to three groups ``{"params": [...], "weight_decay": w, "role": role}``, in the order of the roles:

        - ``"matrix"``: two axes or more;
        - ``"embedding"``: embeddings of tokens and positions, and the unembedding;
        - ``"vector"``: fewer than two axes, or named in `no_decay` by a module that owns it. They are not decayed.
    """
    spared, embeddings = set(_spared(model)), set(_embeddings(model))
    groups: dict[Role, dict[str, Any]] = {
        "matrix": {"params": [], "weight_decay": weight_decay, "role": "matrix"},
        "embedding": {"params": [], "weight_decay": weight_decay, "role": "embedding"},
        "vector": {"params": [], "weight_decay": 0.0, "role": "vector"},
    }
    for parameter in model.parameters():
        if parameter.requires_grad:
            is_vector = parameter.ndim < 2 or parameter in spared
            role: Role = "vector" if is_vector else "embedding" if parameter in embeddings else "matrix"
            groups[role]["params"].append(parameter)
    return [group for group in groups.values() if group["params"]]


def _spared(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters that their modules name in `no_decay`."""
    for module in model.modules():
        names = getattr(module, "no_decay", ())
        own = module.named_parameters(recurse=False, remove_duplicate=False)  # it may have two names for one
        yield from (parameter for name, parameter in own if name in names)


def _embeddings(model: nn.Module) -> Iterator[nn.Parameter]:
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            yield from module.parameters(recurse=False)
    for name in EMBEDDINGS:
        part = getattr(model, name, None)
        if isinstance(part, nn.Module):
            yield from part.parameters()
        elif isinstance(part, nn.Parameter):
            yield part
