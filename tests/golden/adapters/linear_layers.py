"""Whole layers of linear attention's relatives, with the parameters of other people's layers."""

from collections.abc import Mapping

from torch import Tensor
from torch.func import functional_call

from mixers.linear.lightning import Lightning

LAYER, LAYERS, HEADS = 1, 4, 2
"""Those of the lightning case, which its parameters do not show."""


def lightning(x: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named = {
        "project_in.weight": parameters["qkv_proj.weight"],
        "heads_out.gain": parameters["norm.weight"],
        "heads_out.gate.weight": parameters["output_gate.weight"],
        "heads_out.project.weight": parameters["out_proj.weight"],
    }
    mixer = Lightning(x.shape[-1], heads=HEADS, layer_index=LAYER, layers=LAYERS).double()
    return {"o": functional_call(mixer, named, x)}


ADAPTERS = {"layer-lightning": lightning}

TOLERANCES = {"layer-lightning": 1e-5}
"""The source casts to float32 inside."""
