"""What the machine offers: device, threads and precision, and how it is set up for a run."""

import os

import torch

from zoo.errors import UsageError
from zoo.model.hybrids import write_out
from zoo.plugin.registry import get_registry
from zoo.train.allocator import keep_freed_memory
from zoo.train.engine.ranks import Ranks
from zoo.train.settings import Settings

_MAX_REASON = 80
"""Characters of torch's own word on a device that is not there."""


def resolve_auto(settings: Settings, ranks: Ranks | None = None) -> Settings:
    """The settings with ``auto`` and ``none`` replaced by what this machine has, and a hybrid by its pattern.

    So a run can be repeated.
    """
    given = settings.pattern
    pattern, layers = write_out(given, settings.layers, get_registry())
    if pattern is not given:
        settings = settings.model_copy(update={"mixer": str(pattern), "layers": layers})
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    check_device(device)
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if bf16_pays(device, settings.dim) else "fp32"
    threads = settings.threads or default_threads(ranks or Ranks())
    compiled = settings.compile is True  # what is gained by it is known to whoever starts a run, see `choose_fastest`
    update = {"device": device, "precision": precision, "threads": threads, "compile": compiled}
    return settings.model_copy(update=update)


def default_threads(ranks: Ranks) -> int:
    """How many threads a process takes where nothing was said: those of torch, or its share of the machine's cores.

    torchrun sets one thread a process, whatever the machine has.
    """
    if ranks.local_count == 1:
        return torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // ranks.local_count)


def bf16_pays(device: str, dim: int) -> bool:
    """Whether autocast to bfloat16 makes the step of most models faster.

    GPUs have units for it. A CPU needs them too (AMX or AVX512-BF16), and matrices large enough to repay the
    conversions. A long run on a CPU measures it for its own model, see `zoo.train.choosing`.
    """
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu":
        return False
    return dim >= 128 and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def prepare_machine(settings: Settings, ranks: Ranks | None = None) -> torch.device:
    """Set the thread count, and let the C library keep what tensors free, see `zoo.train.allocator`.

    Args:
        settings: without ``auto``.
        ranks: the processes of the run.

    Returns:
        The device of this process.

    Raises:
        UsageError: the device is not there, e.g. that of a run which was started elsewhere; or settings with which
            these ranks cannot train.
    """
    ranks = ranks or Ranks()
    ranks.check(settings)
    device = ranks.local_device(settings.device)
    check_device(device)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    keep_freed_memory(os.environ)
    return torch.device(device)


def check_device(name: str) -> None:
    """Refuse a device that is not there.

    Raises:
        UsageError: with the reason.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        why = f" ({reason})" if len(reason) <= _MAX_REASON else ""  # some list all that torch could be built for
        raise UsageError(f"device {name!r} cannot be used here{why}; try `device`=cpu") from None
