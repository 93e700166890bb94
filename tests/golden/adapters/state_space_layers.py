"""Whole layers of gated states, with the parameters of other people's layers."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mixers.state_space.mamba2 import Mamba2
from mixers.state_space.rwkv6 import RWKV6
from mixers.state_space.rwkv_channel import RWKVChannel

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


def rwkv6(x: Tensor, parameters: Parameters) -> dict[str, Tensor]:
    """Low-rank matrices are stored for products from the right."""
    mix = torch.cat([parameters[f"time_maa_{part}"] for part in "wkvrg"])[:, 0]
    given = {
        "base_mix": parameters["time_maa_x"].flatten(),
        "mix": mix,
        "mix_down.weight": parameters["time_maa_w1"].t(),
        "mix_up": parameters["time_maa_w2"],
        "decay_bias": parameters["time_decay"].flatten(),
        "decay_down.weight": parameters["time_decay_w1"].t(),
        "decay_up.weight": parameters["time_decay_w2"].t(),
        "bonus": parameters["time_faaaa"],
        "project_key.weight": parameters["key.weight"],
        "project_value.weight": parameters["value.weight"],
        "project_query.weight": parameters["receptance.weight"],
        "project_gate.weight": parameters["gate.weight"],
        "norm.weight": parameters["ln_x.weight"],
        "norm.bias": parameters["ln_x.bias"],
        "project_out.weight": parameters["output.weight"],
    }
    ranks = {"rank": given["mix_up"].shape[1], "decay_rank": parameters["time_decay_w1"].shape[1]}
    return run(RWKV6(x.shape[-1], heads=len(given["bonus"]), **ranks), x, given)


def rwkv_channel(x: Tensor, parameters: Parameters) -> dict[str, Tensor]:
    given = {
        "mix": parameters["x_k"].flatten(),
        "project_in.weight": parameters["key.weight"],
        "project_out.weight": parameters["value.weight"],
    }
    return run(RWKVChannel(x.shape[-1], hidden=len(parameters["key.weight"])), x, given)


ADAPTERS = {"layer-mamba2": mamba2, "layer-rwkv6": rwkv6, "layer-rwkv-channel": rwkv_channel}
