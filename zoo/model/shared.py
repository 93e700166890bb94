"""Weights that several places of a model share: one module when it is built, one tensor when it is saved."""

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from torch import Tensor, nn

from zoo.plugin.pattern import Call

Module = TypeVar("Module", bound=nn.Module | None)


class SharedModules:
    """The modules of a model by label: the first place of a label builds its module, the others get the same one."""

    def __init__(self) -> None:
        self._by_label: dict[str, nn.Module | None] = {}

    def module(self, call: Call, build: Callable[[], Module]) -> Module:
        """The module of a call of the model's pattern, in which each label stands for one mixer."""
        if call.label is None:
            return build()
        if call.label not in self._by_label:
            self._by_label[call.label] = build()
        return cast(Module, self._by_label[call.label])


def state_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of a model, with the tensors of a module that has several places under its first name only."""
    others = _other_names(model)
    return {name: tensor for name, tensor in model.state_dict().items() if name not in others}


def load_state_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `state_tensors` gave, or a whole state dict.

    Raises:
        RuntimeError: names or shapes that are not those of the model.
    """
    repeated = {name: tensors[first] for name, first in _other_names(model).items() if first in tensors}
    model.load_state_dict({**repeated, **tensors})


def _other_names(model: nn.Module) -> dict[str, str]:
    """The names in the state dict under which a tensor comes again, each with the first name of that tensor."""
    first: dict[nn.Module, str] = {}
    owners = {name: first.setdefault(module, name) for name, module in model.named_modules(remove_duplicate=False)}
    others = {}
    for name in model.state_dict():
        owner, _, own = name.rpartition(".")
        if owners.get(owner, owner) != owner:
            others[name] = f"{owners[owner]}.{own}"
    return others
