"""Whole layers of gated states, with the parameters of other people's layers."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.func import functional_call

from mixers.state_space.mamba2 import Mamba2

TOLERANCES = {"layer-mamba2": 1e-5}
"""The source casts to float32 inside."""

Parameters = Mapping[str, Tensor]


def run(mixer: nn.Module, x: Tensor, parameters: Parameters) -> dict[str, Tensor]:
    """The writes of a mixer with other parameters, all of which have to be given."""
    missing = dict(mixer.named_parameters()).keys() ^ parameters.keys()
    assert not missing, f"parameters that only one of the two has: {sorted(missing)}"
    return {"o": functional_call(mixer.to(x.dtype), dict(parameters), (x,))}


def mamba2(x: Tensor, parameters: Parameters) -> dict[str, Tensor]:
    """The source says of its two groups nothing that a shape would show."""
    kernel, heads = parameters["conv1d.weight"][:, 0].flip(1), len(parameters["A_log"])
    width, groups = len(parameters["norm.weight"]), 2
    given = {
        "project_in.weight": parameters["in_proj.weight"],
        "convolution.weight": kernel,
        "convolution.bias": parameters["conv1d.bias"],
        "step_bias": parameters["dt_bias"],
        "log_rate": parameters["A_log"],
        "skip": parameters["D"],
        "norm.weight": parameters["norm.weight"],
        "project_out.weight": parameters["out_proj.weight"],
    }
    sizes = {"state_size": (len(kernel) - width) // 2 // groups, "expand": width // x.shape[-1]}
    return run(Mamba2(x.shape[-1], heads=heads, groups=groups, kernel_size=kernel.shape[1], **sizes), x, given)


ADAPTERS = {"layer-mamba2": mamba2}
