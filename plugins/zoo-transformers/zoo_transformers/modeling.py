"""A model of the zoo as a causal language model of transformers."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.generation import utils as generation
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple

from zoo.model.backbone import CROSS_ENTROPY, Backbone
from zoo.model.build import build_model
from zoo.model.shared import state_tensors
from zoo.train.plugins import check_plugins, with_recorded_origins
from zoo_transformers.cache import StateCache
from zoo_transformers.configuration import BUILT_WITH, ZooConfig

CACHE = "cache" if "cache" in generation.ALL_CACHE_NAMES else "past_key_values"
"""What this version of transformers calls the state; 5.24 renamed it."""

_CODE = "modeling_mixer_zoo.py"
_HEADER = "from zoo_transformers import ZooConfig, ZooForCausalLM  # noqa: F401\n"
_AUTO_MAP = {"AutoConfig": "modeling_mixer_zoo.ZooConfig", "AutoModelForCausalLM": "modeling_mixer_zoo.ZooForCausalLM"}

_ALIGNMENT = 64
"""Bytes of a line of a CPU's cache, and of its widest register."""

_PASSED_ON = frozenset({"num_items_in_batch"})
"""What a trainer passes for the loss."""

_LEFT_ALONE = _PASSED_ON | {"tokenizer", "assistant_tokenizer"}
"""With what `generate` passes on to every model, though it has used them itself."""


class ZooForCausalLM(PreTrainedModel, GenerationMixin):
    """A language model of the mixer zoo, with the methods of transformers.

    `generate` keeps the mixers' own state between tokens. While it trains, the loss holds what the mixers add to it.

    Args:
        config: of an export.
        backbone: the model, where it is built already.

    Raises:
        PluginError: a plugin that the model needs is missing or broken.
    """

    config_class = ZooConfig
    base_model_prefix = "model"
    _supports_sdpa = True

    def __init__(self, config: ZooConfig, backbone: Backbone | None = None) -> None:
        super().__init__(config)
        # Here and not on the meta device, on which transformers makes models: a part may hold tables that it has
        # computed, and that no checkpoint brings back.
        with torch.device("cpu"):
            self.model = _build(config) if backbone is None else backbone
        for tensor in (*self.model.parameters(), *self.model.buffers()):
            tensor._is_hf_initialized = True  # else `post_init` would draw them anew
        self._tables = {name: _unsaved_buffers(part) for name, part in self.named_modules() if _unsaved_buffers(part)}
        self._tied_weights_keys = _repeated_names(self.model)
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        use_cache: bool | None = None,
        cache: StateCache | None = None,
        past_key_values: StateCache | None = None,
        **others: Any,
    ) -> CausalLMOutputWithPast:
        """Predict the next token at every position.

        Args:
            input_ids: ``(b, t)``; with a cache only the tokens that it has not seen.
            attention_mask: ``(b, s)``; zeros may only follow the last token of a row, and not with a cache.
            labels: ``(b, t)``, the tokens themselves: they are shifted here; -100 where none is scored.
            use_cache: whether to return the state after these tokens.
            cache: that of an earlier call, which is updated in place; `past_key_values` is its earlier name.

        Returns:
            Logits ``(b, t, vocabulary)``, the loss where there are labels, and the cache where it was asked for.

        Raises:
            ValueError: masked tokens before others, or an argument that the model cannot obey.
            UsageError: more tokens than the model reaches.
        """
        before = _given_cache(cache, past_key_values)
        _check_arguments(input_ids, others)
        keeps = bool(use_cache) or before is not None
        check_mask(attention_mask, may_end_early=not keeps)
        losses: Mapping[str, Tensor] = {}
        if keeps:
            before = StateCache() if before is None else before
            logits, before.state = self.model.step(input_ids, before.state)
            before.length += cast(Tensor, input_ids).shape[1]
        else:
            logits, _, losses, _ = self.model(input_ids)
        loss = None
        if labels is not None:
            passed = {name: value for name, value in others.items() if name in _PASSED_ON}
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **passed)
            if self.training:
                loss = loss + sum(value for name, value in losses.items() if name != CROSS_ENTROPY)
        kept: dict[str, Any] = {CACHE: before} if keeps else {}
        return CausalLMOutputWithPast(loss=loss, logits=logits, **kept)

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What `forward` is given for the next token.

        Raises:
            ValueError: a mask with zeros.
        """
        check_mask(kwargs.get("attention_mask"), may_end_early=False)
        return super().prepare_inputs_for_generation(*args, **kwargs)

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # `forward` makes one of its own

    def get_input_embeddings(self) -> nn.Module:
        """The embedding."""
        return self.model.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Put another embedding in its place."""
        self.model.embedding = value

    def get_output_embeddings(self) -> nn.Module | None:
        """Nothing: the zoo unembeds without a module of its own."""
        return None

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load an export, see `PreTrainedModel.from_pretrained`."""
        loaded = super().from_pretrained(*args, **kwargs)
        _align(loaded[0] if isinstance(loaded, tuple) else loaded)
        return loaded

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        """Save the model, with the line of code by which ``trust_remote_code`` finds this class."""
        self.config.auto_map = dict(_AUTO_MAP)
        super().save_pretrained(save_directory, *args, **kwargs)
        (Path(save_directory) / _CODE).write_text(_HEADER, encoding="utf-8")

    def _init_weights(self, module: nn.Module) -> None:
        """Draw what a checkpoint lacks, and put back what none holds. transformers asks the innermost modules first."""
        reset = getattr(module, "reset_parameters", None)
        own = list(module.parameters(recurse=False))
        if callable(reset) and not all(getattr(parameter, "_is_hf_initialized", False) for parameter in own):
            reset()
        for name, tables in self._tables.items():
            if self.get_submodule(name) is module:
                for buffer, value in tables.items():
                    module.get_buffer(buffer).copy_(value)


def check_mask(mask: Tensor | None, *, may_end_early: bool) -> None:
    """Refuse a mask that hides tokens from those that follow: a state has seen all that came before.

    Args:
        mask: ``(b, t)``, 0 at hidden tokens; None hides none.
        may_end_early: whether zeros may stand at the end of a row, where nothing follows.

    Raises:
        ValueError: it does.
    """
    if mask is None or bool(mask.all()):
        return
    if may_end_early and mask.ndim == 2 and bool((mask.bool().int().diff(dim=1) <= 0).all()):
        return
    raise ValueError(
        "the attention mask hides tokens, and the state of a mixer cannot skip any: "
        "generate for one prompt at a time, or for prompts of the same length"
    )


def _build(config: ZooConfig) -> Backbone:
    if config.settings is None or config.vocab_size is None:
        raise ValueError("the configuration has no settings of a run: load that of an export")
    recorded = config.plugins or {}
    for change in check_plugins(recorded).values():
        warnings.warn(change, stacklevel=2)
    settings = {name: config.settings[name] for name in BUILT_WITH}
    registry = with_recorded_origins({"plugins": recorded})
    return build_model(settings.pop("mixer"), vocab_size=config.vocab_size, registry=registry, **settings)


def _align(model: nn.Module) -> None:
    """Move tensors to addresses that torch would choose.

    transformers maps the file of the weights into memory, where a tensor begins anywhere, and kernels of a CPU add up
    in another order there: the last bits of logits would not be those of the run.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu" and tensor.data_ptr() % _ALIGNMENT:
            tensor.data = tensor.data.clone()


def _unsaved_buffers(part: nn.Module) -> dict[str, Tensor]:
    """Copies of the buffers that a module computes anew when it is built."""
    names = part._non_persistent_buffers_set
    return {name: buffer.clone() for name, buffer in part._buffers.items() if buffer is not None and name in names}


def _repeated_names(model: Backbone) -> dict[str, str]:
    """The names under which shared tensors come again, each with the first name of that tensor."""
    kept = state_tensors(model)
    first = {tensor.data_ptr(): name for name, tensor in kept.items() if tensor.numel()}
    others = {name: tensor for name, tensor in model.state_dict().items() if name not in kept and tensor.numel()}
    return {f"model.{name}": f"model.{first[tensor.data_ptr()]}" for name, tensor in others.items()}


def _given_cache(*caches: object) -> StateCache | None:
    given = [cache for cache in caches if cache is not None]
    if len(given) > 1:
        raise ValueError("cache and past_key_values are two names for the same: pass one of them")
    if given and not isinstance(given[0], StateCache):
        raise ValueError(
            f"a {type(given[0]).__name__} cannot hold the state of mixers: pass the cache that an earlier call returned"
        )
    return cast(StateCache | None, given[0] if given else None)


def _check_arguments(input_ids: Tensor | None, others: Mapping[str, Any]) -> None:
    if input_ids is None:
        raise ValueError("input_ids is missing: a model of the zoo reads tokens, (b, t), and no embeddings")
    for name, value in others.items():
        if name not in _LEFT_ALONE and value is not None and value is not False:
            raise ValueError(f"a model of the zoo does not take {name}: leave it out")
