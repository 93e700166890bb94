"""The floating-point operations of a call, without those of scores that a causal mask hides."""

from collections.abc import Callable
from math import prod
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from zoo.train.flops import count_flops


def count_operations(run: Callable[[], object]) -> tuple[int, int]:
    """The FLOPs of a call as they are usually counted, and without those of masked scores.

    The usual count takes a fused causal attention as full. A kernel may leave out every score that is masked, which
    is about half.

    Args:
        run: is called once.
    """
    with _MaskedScores() as masked:
        counted = count_flops(run)
    return counted, counted - masked.flops


class _MaskedScores(TorchDispatchMode):
    """Counts the operations that go into masked scores, and come out of them, in fused causal attention."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False)) | (kwargs or {})
        if named.get("is_causal") is True:
            self.flops += _masked_flops(named)
        return func(*args, **(kwargs or {}))


def _masked_flops(named: dict[str, Any]) -> int:
    query, key, value = (named[name].shape for name in ("query", "key", "value"))
    masked = sum(max(0, key[-2] - 1 - t) for t in range(query[-2]))
    backward = any(name.startswith("grad_out") for name in named)
    # Forward: a score and its weighted value. Backward: the score anew, and four gradients.
    products = 3 * key[-1] + 2 * value[-1] if backward else key[-1] + value[-1]
    return 2 * prod(query[:-2]) * masked * products
