"""Parameters that had other names in checkpoints of earlier versions."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def with_current_names(tensors: "Mapping[str, Mapping[str, Tensor]]") -> "dict[str, dict[str, Tensor]]":
    """The tensors of a checkpoint under the names that they have now.

    Norms were kept in the layers, as ``layers.<n>.mixer_norm`` and ``layers.<n>.channel_norm``, and the last one as
    ``norm``; they are those of the residual scheme `pre-norm`, ``residual.norms.<site>`` and ``residual.norm``.

    Args:
        tensors: by stem (``model``, ``optimizer``), then by name; an optimiser's is ``<parameter>|<quantity>``.
    """
    # the model's names say which sites there are; a parameter without a gradient has no state in the optimiser
    old = [re.fullmatch(r"layers\.(\d+)\.(mixer|channel)_norm\.weight", name) for name in tensors.get("model", ())]
    sites = sorted((int(match[1]), match[2] == "channel", match[0]) for match in old if match)
    names = {name: f"residual.norms.{site}.weight" for site, (_, _, name) in enumerate(sites)}
    if names:
        names["norm.weight"] = "residual.norm.weight"
    return {stem: {_renamed(name, names): value for name, value in named.items()} for stem, named in tensors.items()}


def _renamed(name: str, names: Mapping[str, str]) -> str:
    parameter, bar, quantity = name.partition("|")
    return names.get(parameter, parameter) + bar + quantity
