"""Whole layers of recurrent and convolutional mixers, with the parameters of other people's layers."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.func import functional_call

from mixers.convolution.gated_short_conv import GatedShortConv
from mixers.convolution.hyena import Hyena
from mixers.recurrent.mamba1 import Mamba1
from mixers.recurrent.rg_lru import RGLRU

TOLERANCES = {"layer-mamba1": 1e-5, "layer-rg-lru": 1e-5, "layer-gated-short-conv": 1e-5, "layer-hyena": 1e-5}
"""The sources cast to float32 inside, or keep buffers of that precision."""

Parameters = Mapping[str, Tensor]


def taps(weight: Tensor) -> Tensor:
    """Torch's convolutions have a channel axis more, and the tap of the token itself last."""
    return weight[:, 0].flip(1)


def run(mixer: nn.Module, x: Tensor, parameters: Parameters) -> dict[str, Tensor]:
    """The writes of a mixer with other parameters, all of which have to be given."""
    missing = dict(mixer.named_parameters()).keys() ^ parameters.keys()
    assert not missing, f"parameters that only one of the two has: {sorted(missing)}"
    return {"o": functional_call(mixer.to(x.dtype), dict(parameters), (x,))}


def gated_short_conv(x: Tensor, parameters: Parameters) -> dict[str, Tensor]:
    kernel = taps(parameters["conv.weight"])
    given = {
        "project_in.weight": parameters["in_proj.weight"],
        "convolution.weight": kernel,
        "project_out.weight": parameters["out_proj.weight"],
    }
    return run(GatedShortConv(x.shape[-1], kernel_size=kernel.shape[1]), x, given)


def mamba1(x: Tensor, parameters: Parameters) -> dict[str, Tensor]:
    kernel, dim = taps(parameters["conv1d.weight"]), x.shape[-1]
    width, states = parameters["A_log"].shape
    given = {
        "project_in.weight": parameters["in_proj.weight"],
        "convolution.weight": kernel,
        "convolution.bias": parameters["conv1d.bias"],
        "project_state.weight": parameters["x_proj.weight"],
        "project_step.weight": parameters["dt_proj.weight"],
        "project_step.bias": parameters["dt_proj.bias"],
        "log_rate": parameters["A_log"],
        "skip": parameters["D"],
        "project_out.weight": parameters["out_proj.weight"],
    }
    rank = parameters["dt_proj.weight"].shape[1]
    mixer = Mamba1(dim, state_size=states, expand=width // dim, kernel_size=kernel.shape[1], rank=rank)
    return run(mixer, x, given)


def rg_lru(x: Tensor, parameters: Parameters) -> dict[str, Tensor]:
    kernel = taps(parameters["conv_1d.weight"])
    heads = len(parameters["rg_lru.input_gate_weight"])
    given = {
        "project_gate.weight": parameters["linear_y.weight"],
        "project_gate.bias": parameters["linear_y.bias"],
        "project_in.weight": parameters["linear_x.weight"],
        "project_in.bias": parameters["linear_x.bias"],
        "convolution.weight": kernel,
        "convolution.bias": parameters["conv_1d.bias"],
        "recurrence_weight": parameters["rg_lru.recurrent_gate_weight"],
        "recurrence_bias": parameters["rg_lru.recurrent_gate_bias"],
        "input_weight": parameters["rg_lru.input_gate_weight"],
        "input_bias": parameters["rg_lru.input_gate_bias"],
        "rate": parameters["rg_lru.recurrent_param"],
        "project_out.weight": parameters["linear_out.weight"],
        "project_out.bias": parameters["linear_out.bias"],
    }
    return run(RGLRU(x.shape[-1], heads=heads, width=len(kernel), kernel_size=kernel.shape[1]), x, given)


def hyena(x: Tensor, parameters: Parameters) -> dict[str, Tensor]:
    kernel, features = taps(parameters["short_filter.weight"]), parameters["filter_fn.pos_emb.z"][0]
    network = "filter_fn.implicit_filter"
    frequency = parameters[f"{network}.1.freq"][0]
    given = {
        "project_in.weight": parameters["in_proj.weight"],
        "project_in.bias": parameters["in_proj.bias"],
        "convolution.weight": kernel,
        "convolution.bias": parameters["short_filter.bias"],
        "lag_features": features,
        "frequency": frequency,
        "to_kernel.weight": parameters[f"{network}.6.weight"],
        "skip": parameters["filter_fn.bias"],
        "project_out.weight": parameters["out_proj.weight"],
        "project_out.bias": parameters["out_proj.bias"],
    }
    for layer in range(3):
        for name in ("weight", "bias"):
            given[f"hidden.{layer}.{name}"] = parameters[f"{network}.{2 * layer}.{name}"]
    mixer = Hyena(
        x.shape[-1],
        context=len(features),
        kernel_size=kernel.shape[1],
        features=features.shape[1],
        filter_width=len(frequency),
    )
    return run(mixer, x, given)


ADAPTERS = {
    "layer-gated-short-conv": gated_short_conv,
    "layer-hyena": hyena,
    "layer-mamba1": mamba1,
    "layer-rg-lru": rg_lru,
}
