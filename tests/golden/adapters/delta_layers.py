"""Whole layers of the mixers that erase, with the parameters of other people's layers."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mixers.delta.gated_deltanet import GatedDeltaNet
from mixers.delta.kda import KDA
from mixers.delta.rwkv7 import FIRST_VALUE, RWKV7
from zoo import Mixed

TOLERANCES = {"layer-gated-deltanet": 1e-5, "layer-gated-deltanet-olmo": 1e-5, "layer-kda": 1e-5}
"""The sources cast to float32 inside."""

SHARING = 2
"""So many heads of values share a head of keys in Qwen3-Next."""

EPSILON = 1e-5
"""What OLMo Hybrid and Kimi Linear add to the mean square of a head."""

Parameters = Mapping[str, Tensor]


def taps(weight: Tensor) -> Tensor:
    """Torch's convolutions have a channel axis more, and the tap of the token itself last."""
    return weight[:, 0].flip(1)


def run(mixer: nn.Module, x: Tensor, parameters: Parameters, **host: object) -> dict[str, Tensor]:
    """The writes of a mixer with other parameters, all of which have to be given."""
    missing = dict(mixer.named_parameters()).keys() ^ parameters.keys()
    assert not missing, f"parameters that only one of the two has: {sorted(missing)}"
    return {"o": Mixed.of(functional_call(mixer.to(x.dtype), dict(parameters), (x,), host)).out}


def qwen(x: Tensor, parameters: Parameters) -> dict[str, Tensor]:
    """Projections lie by key head: its query, its key, the values of its heads, their gates."""
    heads, value_size = len(parameters["A_log"]), len(parameters["norm.weight"])
    key_heads = heads // SHARING
    key_size = (len(parameters["conv1d.weight"]) - heads * value_size) // (2 * key_heads)
    sizes = [key_size, key_size, SHARING * value_size, SHARING * value_size]
    query, key, value, gate = parameters["in_proj_qkvz.weight"].unflatten(0, (key_heads, -1)).split(sizes, dim=1)
    erased, decay = parameters["in_proj_ba.weight"].unflatten(0, (key_heads, -1)).split(SHARING, dim=1)
    kernel = taps(parameters["conv1d.weight"])
    given = {
        "heads_in.project.weight": torch.cat([part.flatten(0, 1) for part in (query, key, value)]),
        "heads_in.convolution.weight": kernel,
        "decay.project.weight": decay.flatten(0, 1),
        "decay.log_rate": parameters["A_log"],
        "decay.bias": parameters["dt_bias"],
        "erased.project.weight": erased.flatten(0, 1),
        "heads_out.gate.weight": gate.flatten(0, 1),
        "heads_out.gain": parameters["norm.weight"],
        "heads_out.project.weight": parameters["out_proj.weight"],
    }
    sizes_of_heads = {"heads": heads, "key_heads": key_heads, "key_size": key_size, "value_size": value_size}
    return run(GatedDeltaNet(x.shape[-1], **sizes_of_heads, kernel_size=kernel.shape[1]), x, given)


def olmo(x: Tensor, parameters: Parameters) -> dict[str, Tensor]:
    kernel, heads = taps(parameters["conv1d.weight"]), len(parameters["A_log"])
    sizes = {"key_size": len(parameters["k_proj.weight"]) // heads, "value_size": len(parameters["o_norm.weight"])}
    given = {
        "heads_in.project.weight": torch.cat([parameters[f"{name}_proj.weight"] for name in "qkv"]),
        "heads_in.convolution.weight": kernel,
        "decay.project.weight": parameters["a_proj.weight"],
        "decay.log_rate": parameters["A_log"],
        "decay.bias": parameters["dt_bias"],
        "erased.project.weight": parameters["b_proj.weight"],
        "heads_out.gate.weight": parameters["g_proj.weight"],
        "heads_out.gain": parameters["o_norm.weight"],
        "heads_out.project.weight": parameters["o_proj.weight"],
    }
    mixer = GatedDeltaNet(x.shape[-1], heads=heads, **sizes, kernel_size=kernel.shape[1], negative=True)
    mixer.heads_out.epsilon = EPSILON
    return run(mixer, x, given)


def kda(x: Tensor, parameters: Parameters) -> dict[str, Tensor]:
    kernel, heads = taps(parameters["conv1d.weight"]), parameters["forget_gate.A_log"].numel()
    sizes = {"key_size": len(parameters["k_proj.weight"]) // heads, "value_size": len(parameters["o_norm.weight"])}
    given = {
        "heads_in.project.weight": torch.cat([parameters[f"{name}_proj.weight"] for name in "qkv"]),
        "heads_in.convolution.weight": kernel,
        "decay.project.0.weight": parameters["forget_gate.f_a_proj.weight"],
        "decay.project.1.weight": parameters["forget_gate.f_b_proj.weight"],
        "decay.log_rate": parameters["forget_gate.A_log"].flatten(),
        "decay.bias": parameters["forget_gate.dt_bias"].unflatten(0, (heads, -1)),
        "erased.project.weight": parameters["b_proj.weight"],
        "heads_out.gate.0.weight": parameters["g_a_proj.weight"],
        "heads_out.gate.1.weight": parameters["g_b_proj.weight"],
        "heads_out.gain": parameters["o_norm.weight"],
        "heads_out.project.weight": parameters["o_proj.weight"],
    }
    rank = len(parameters["g_a_proj.weight"])
    mixer = KDA(x.shape[-1], heads=heads, **sizes, kernel_size=kernel.shape[1], rank=rank, floor=None)
    mixer.heads_out.epsilon = EPSILON
    return run(mixer, x, given)


def rwkv7(x: Tensor, parameters: Parameters, v_first: Tensor | None = None) -> dict[str, Tensor]:
    """The gate of the first layer's values has parameters in that layer, too, which do nothing."""
    later = v_first is not None
    low_ranks = {"decay": "w", "rate": "a"} | ({"of_first": "v"} if later else {})
    given = {
        "mixtures": torch.cat([parameters[f"x_{name}"].flatten(0, 1) for name in "rwkvag"]),
        "receptance.weight": parameters["receptance.weight"],
        "key.weight": parameters["key.weight"],
        "value.weight": parameters["value.weight"],
        "gate.down.weight": parameters["g1"].t(),
        "gate.up.weight": parameters["g2"].t(),
        "erase_scale": parameters["k_k"].flatten(),
        "key_scale": parameters["k_a"].flatten(),
        "bonus": parameters["r_k"],
        "norm_gain": parameters["ln_x.weight"],
        "norm_bias": parameters["ln_x.bias"],
        "project_out.weight": parameters["output.weight"],
    }
    for ours, theirs in low_ranks.items():
        given[f"{ours}.down.weight"] = parameters[f"{theirs}1"].t()
        given[f"{ours}.up.weight"] = parameters[f"{theirs}2"].t()
        given[f"{ours}.up.bias"] = parameters[f"{theirs}0"].flatten()
    names = {"decay": "w1", "erase": "a1", "value": "v1", "gate": "g1"}
    ranks = {f"{ours}_rank": parameters[theirs].shape[1] for ours, theirs in names.items()}
    mixer = RWKV7(x.shape[-1], heads=len(parameters["r_k"]), **ranks, layer_index=int(later), layers=2)
    return run(mixer, x, given, shared={FIRST_VALUE: v_first} if later else {})


ADAPTERS = {
    "layer-gated-deltanet": qwen,
    "layer-gated-deltanet-olmo": olmo,
    "layer-kda": kda,
    "layer-rwkv7": rwkv7,
    "layer-rwkv7-first": rwkv7,
}
