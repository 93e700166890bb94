"""What the makers say of GPUs: their memory, and how fast they multiply matrices."""

from typing import NamedTuple

from zoo.errors import UsageError
from zoo.plugin.options import did_you_mean


class GPU(NamedTuple):
    """One GPU.

    Attributes:
        name: in words.
        memory: bytes.
        flops: floating-point operations a second of dense matrix products in bfloat16, a multiply-add as 2.
    """

    name: str
    memory: float
    flops: float


GPUS = {
    "a100-40": GPU("NVIDIA A100 40 GB", 40e9, 312e12),
    "a100": GPU("NVIDIA A100 80 GB", 80e9, 312e12),
    "l40s": GPU("NVIDIA L40S", 48e9, 362e12),
    "4090": GPU("NVIDIA GeForce RTX 4090", 24e9, 165.2e12),
    "h100": GPU("NVIDIA H100 SXM", 80e9, 989.4e12),
    "h200": GPU("NVIDIA H200 SXM", 141e9, 989.4e12),
    "b200": GPU("NVIDIA B200", 180e9, 2250e12),
    "mi250x": GPU("AMD Instinct MI250X", 128e9, 383e12),
    "mi300x": GPU("AMD Instinct MI300X", 192e9, 1307.4e12),
}
"""By the name that ``--gpu`` takes; from the data sheets of their makers, without sparsity."""


def find_gpu(name: str) -> GPU:
    """The GPU of that name.

    Raises:
        UsageError: it is not in the table.
    """
    found = GPUS.get(name.lower())
    if found is None:
        raise UsageError(f"no figures are known of the `gpu` {name!r}{did_you_mean(name, GPUS)}; of {', '.join(GPUS)}")
    return found
