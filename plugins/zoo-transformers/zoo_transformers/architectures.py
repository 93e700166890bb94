"""Which parts of the zoo make a pretrained model, and which of its tensors go where."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.plugin.pattern import Call

_ZOO_EPS = {"rms": 1e-6, "layer": 1e-5}
"""What the zoo's own norms add, by their name."""

_GPT2_ACTIVATIONS = {
    "gelu_new": "gelu-tanh",
    "gelu_pytorch_tanh": "gelu-tanh",
    "gelu": "gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
_GATED = {"silu": "swiglu", "swish": "swiglu", "gelu_pytorch_tanh": "geglu", "gelu_new": "geglu"}


@dataclass(frozen=True)
class Converted:
    """A pretrained model as one of the zoo.

    Attributes:
        built_with: the arguments of `zoo.build_model`, but for the context.
        tensors: the weights, by the names that they have in that model.
        reach: the most tokens that it was made for.
    """

    built_with: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    reach: int


class Weights:
    """The tensors of a checkpoint, each of which is to be used."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._left = dict(tensors)

    def take(self, name: str) -> Tensor:
        """A tensor, which is used with it.

        Raises:
            UsageError: there is none.
        """
        if name not in self._left:
            raise UsageError(f"the checkpoint lacks {name}: is it damaged?")
        return self._left.pop(name)

    def joined(self, *names: str) -> Tensor:
        """Several, one below the other."""
        return torch.cat([self.take(name) for name in names])

    def check_empty(self) -> None:
        """Refuse a checkpoint with tensors that nothing took.

        Raises:
            UsageError: with the first of them.
        """
        for name in self._left:
            raise UsageError(f"the checkpoint has {name}, which no part of the zoo takes: it cannot be imported")


def convert(config: Any, tensors: Mapping[str, Tensor]) -> Converted:
    """A model of transformers as one of the zoo.

    Args:
        config: its configuration.
        tensors: its state dict.

    Raises:
        UsageError: an architecture or an option that no part of the zoo has.
    """
    check_known(config.model_type)
    weights = Weights(tensors)
    converted = _ARCHITECTURES[config.model_type](config, weights)
    weights.check_empty()
    return converted


def check_known(model_type: object) -> None:
    """Refuse an architecture that is not known.

    Raises:
        UsageError: with those that are.
    """
    if model_type not in _ARCHITECTURES:
        raise UsageError(f"a model of type {model_type} cannot be imported: expected {', '.join(_ARCHITECTURES)}")


def _gpt2(config: Any, weights: Weights) -> Converted:
    _refuse(config, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    activation = _choice(config, "activation_function", _GPT2_ACTIVATIONS)
    hidden = 4 * config.n_embd if config.n_inner is None else config.n_inner
    tensors = {
        "embedding.weight": weights.take("transformer.wte.weight"),
        "positions.weight": weights.take("transformer.wpe.weight"),
    }
    for index in range(config.n_layer):
        theirs, ours = f"transformer.h.{index}", f"layers.{index}"
        for source, target in (
            ("attn.c_attn", "mixers.0.project_in"),
            ("attn.c_proj", "mixers.0.project_out"),
            ("mlp.c_fc", "channel.project_in"),
            ("mlp.c_proj", "channel.project_out"),
        ):
            # GPT-2 keeps its matrices as (in, out)
            tensors[f"{ours}.{target}.weight"] = weights.take(f"{theirs}.{source}.weight").T.contiguous()
            tensors[f"{ours}.{target}.bias"] = weights.take(f"{theirs}.{source}.bias")
        for source, site in (("ln_1", 2 * index), ("ln_2", 2 * index + 1)):
            for name in ("weight", "bias"):
                tensors[f"residual.norms.{site}.{name}"] = weights.take(f"{theirs}.{source}.{name}")
    for name in ("weight", "bias"):
        tensors[f"residual.norm.{name}"] = weights.take(f"transformer.ln_f.{name}")
    attention = Call("dot-product", (("rope", False), ("bias", True)))
    built_with = {
        "pattern": f"{attention}*{config.n_layer}",
        "channel_mixer": str(Call("biased-mlp", (("hidden", hidden), ("activation", activation)))),
        "residual": _residual("layer", config.layer_norm_epsilon),
        "positions": "learned",
        "dim": config.n_embd,
        "heads": config.n_head,
        **_unembedding(config, weights, tensors),
    }
    return Converted(built_with, tensors, config.n_positions)


def _llama(config: Any, weights: Weights) -> Converted:
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if size * config.num_attention_heads != config.hidden_size:
        raise UsageError(
            f"heads of size {size} do not fill the width {config.hidden_size}, as those of dot-product do: "
            "the model cannot be imported"
        )
    _refuse(config, mlp_bias=False)
    rope = config.rope_parameters
    if rope.get("rope_type", "default") != "default":
        raise UsageError(f"rotary positions of type {rope['rope_type']} cannot be imported: expected default")
    tensors = {"embedding.weight": weights.take("model.embed_tokens.weight")}
    calls = []
    for index in range(config.num_hidden_layers):
        calls.append(str(_llama_attention(config, index, rope["rope_theta"])))
        tensors |= dict(_llama_layer(config, index, weights))
    tensors["residual.norm.weight"] = weights.take("model.norm.weight")
    runs = [(call, len(list(run))) for call, run in groupby(calls)]
    channel = Call(_choice(config, "hidden_act", _GATED), (("hidden", config.intermediate_size),))
    built_with = {
        "pattern": ", ".join(f"{call}*{count}" for call, count in runs),
        "channel_mixer": str(channel),
        "residual": _residual("rms", config.rms_norm_eps),
        "dim": config.hidden_size,
        "heads": config.num_attention_heads,
        **_unembedding(config, weights, tensors),
    }
    return Converted(built_with, tensors, config.max_position_embeddings)


def _llama_attention(config: Any, index: int, base: float) -> Call:
    kinds = getattr(config, "layer_types", None)
    slides = config.model_type == "mistral" if kinds is None else kinds[index] == "sliding_attention"
    window = getattr(config, "sliding_window", None) if slides else None
    options = {
        "kv_heads": config.num_key_value_heads,
        "rope_base": float(base),
        "bias": _has_bias(config),
        "qk_norm": config.model_type == "qwen3",
        "window": window,
    }
    return Call("dot-product", tuple(options.items()))


def _llama_layer(config: Any, index: int, weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a layer: the zoo keeps queries, keys and values in one matrix, and the gate with what it gates."""
    theirs, ours = f"model.layers.{index}", f"layers.{index}"
    attention = f"{theirs}.self_attn"
    inputs = [f"{attention}.{part}_proj" for part in "qkv"]
    yield f"{ours}.mixers.0.project_in.weight", weights.joined(*(f"{name}.weight" for name in inputs))
    yield f"{ours}.mixers.0.project_out.weight", weights.take(f"{attention}.o_proj.weight")
    if _has_bias(config):
        yield f"{ours}.mixers.0.project_in.bias", weights.joined(*(f"{name}.bias" for name in inputs))
        # Qwen2 has none behind its heads: adding zeros is the same
        none = torch.zeros(config.hidden_size)
        own = config.model_type != "qwen2"
        yield f"{ours}.mixers.0.project_out.bias", weights.take(f"{attention}.o_proj.bias") if own else none
    if config.model_type == "qwen3":
        if config.rms_norm_eps != _ZOO_EPS["rms"]:
            raise UsageError(f"query-key norms with eps={config.rms_norm_eps} cannot be imported: expected 1e-06")
        yield f"{ours}.mixers.0.query_gain", weights.take(f"{attention}.q_norm.weight")
        yield f"{ours}.mixers.0.key_gain", weights.take(f"{attention}.k_norm.weight")
    gate, up = f"{theirs}.mlp.gate_proj.weight", f"{theirs}.mlp.up_proj.weight"
    yield f"{ours}.channel.project_in.weight", weights.joined(gate, up)
    yield f"{ours}.channel.project_out.weight", weights.take(f"{theirs}.mlp.down_proj.weight")
    yield f"residual.norms.{2 * index}.weight", weights.take(f"{theirs}.input_layernorm.weight")
    yield f"residual.norms.{2 * index + 1}.weight", weights.take(f"{theirs}.post_attention_layernorm.weight")


def _has_bias(config: Any) -> bool:
    return config.model_type == "qwen2" or bool(getattr(config, "attention_bias", False))


def _unembedding(config: Any, weights: Weights, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """How many tokens, and whether the unembedding is the embedding; else its matrix joins the tensors."""
    unembedding = weights.take("lm_head.weight")
    if not config.tie_word_embeddings:
        tensors["unembedding.weight"] = unembedding
    return {"vocab_size": config.vocab_size, "tie_embeddings": bool(config.tie_word_embeddings)}


def _residual(norm: str, eps: float) -> str:
    """The zoo's own scheme, where its norm adds the same."""
    if eps == _ZOO_EPS[norm]:
        return str(Call("pre-norm", (("norm", norm), ("scale", "none"))))
    return str(Call("pretrained-norm", (("norm", norm), ("eps", eps))))


def _refuse(config: Any, **expected: object) -> None:
    for name, value in expected.items():
        if getattr(config, name, value) != value:
            raise UsageError(f"{name}={getattr(config, name)} cannot be imported: expected {value}")


def _choice(config: Any, name: str, choices: Mapping[str, str]) -> str:
    given = getattr(config, name)
    if given not in choices:
        raise UsageError(f"{name}={given} cannot be imported: expected one of {', '.join(choices)}")
    return choices[given]


_ARCHITECTURES: Mapping[str, Callable[[Any, Weights], Converted]] = {
    "gpt2": _gpt2,
    "llama": _llama,
    "mistral": _llama,
    "qwen2": _llama,
    "qwen3": _llama,
}
