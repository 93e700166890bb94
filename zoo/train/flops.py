"""How many floating-point operations something takes."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten

Shape = Sequence[int]


def count_flops(run: Callable[[], object]) -> int:
    """The floating-point operations of everything that `run` does, forward and backward.

    What is counted are sums of products, a multiply-add as 2, in the conventions of torch's `FlopCounterMode`: matrix
    products, convolutions, and attention, of which a fused kernel is counted as full even where it is causal. To these
    come what that counter takes for nothing: attention on a CPU, products with a vector, grouped matrix products,
    triangular solves, and sums of products that are written out (`addcmul`; a product that is then summed, or that an
    `addcmul` goes on adding to), which is how shifted multiply-adds make a depthwise convolution.

    All other elementwise work is left out, as is usual: norms, activations, softmax, additions to the stream. So is
    what runs inside a compiled graph, and inside an operator of one's own for which no formula is registered with
    ``torch.utils.flop_counter.register_flop_formula``.

    Args:
        run: is called once, and computes eagerly.
    """
    with FlopCounterMode(display=False, custom_mapping=_formulas()) as counter, _SumsOfProducts() as written_out:
        run()
    return counter.get_total_flops() + written_out.flops


class _SumsOfProducts(TorchDispatchMode):
    """Counts multiply-adds that are written out as elementwise operations.

    A product alone is elementwise work. It is part of a sum of products once it is summed, or once `addcmul` adds to
    it: until then it is remembered by the memory that it lies in, which its views share.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self._products: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        operator = func.overloadpacket
        if operator in (aten.mul, aten.mul_) and all(isinstance(x, Tensor) and x.ndim for x in args):
            self._products[_memory(out)] = out.numel()
        elif operator in (aten.sum, aten.mean, aten.cumsum):
            self._count_product(args[0])
        elif operator in (aten.addcmul, aten.addcmul_):
            self.flops += 2 * out.numel()
            self._count_product(args[0])
        return out

    def _count_product(self, x: Tensor) -> None:
        self.flops += 2 * self._products.pop(_memory(x), 0)


def _memory(x: Tensor) -> StorageWeakRef:
    return StorageWeakRef(x.untyped_storage())


def _formulas() -> dict[Any, Callable[..., int]]:
    """For the operators that torch's counter does not know, where this torch has them."""
    by_name: dict[str, Callable[..., int]] = {
        "_scaled_dot_product_flash_attention_for_cpu": _attention,
        "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
        "_grouped_mm": _grouped_product,
        "mv": _vector_product,
        "dot": _vector_product,
        "linalg_solve_triangular": _triangular_solve,
    }
    return {getattr(aten, name): formula for name, formula in by_name.items() if hasattr(aten, name)}


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    return 2 * prod(query[:-1]) * key[-2] * (key[-1] + value[-1])


def _attention_backward(_gradient: Shape, query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """The scores anew, then the gradients of value, scores, query and key."""
    return 2 * prod(query[:-1]) * key[-2] * (3 * key[-1] + 2 * value[-1])


def _grouped_product(a: Shape, b: Shape, *_: Any, **__: Any) -> int:
    """One of the axes is cut into groups, unless both operands have one for them: each row meets one group's matrix."""
    groups = a[0] if len(a) == len(b) == 3 else 1
    return 2 * groups * a[-2] * a[-1] * b[-1]


def _vector_product(matrix: Shape, _vector: Shape, **_: Any) -> int:
    return 2 * prod(matrix)


def _triangular_solve(triangle: Shape, _right: Shape, *, out_shape: Shape, **_: Any) -> int:
    return triangle[-1] * prod(out_shape)
