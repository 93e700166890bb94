"""The code of a plugin's modules runs in isolation: what it does to the process is undone, and reported."""

import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from operator import attrgetter
from typing import Any

import numpy as np
import torch

from zoo.plugin.stdout import stdout_to_stderr


@dataclass(frozen=True)
class _Setting:
    """A part of the state that all code of the process shares.

    Attributes:
        name: as reported.
        read: its value, which can be compared; None where there is nothing to keep.
        write: puts back what `read` gave.
        shown: whether the value means something to a reader.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    shown: bool = True

    @property
    def value(self) -> Any:
        """What `read` gives, or a word for it where torch cannot say, e.g. with two contradictory settings."""
        try:
            return self.read()
        except Exception:
            return "unknown"

    def restore(self, before: Any) -> str | None:
        """Put an earlier value back; what had changed, None for nothing."""
        after = self.value
        if before is None or after == before:
            return None
        change = f"{self.name} ({before} to {after})" if self.shown else self.name
        try:
            self.write(before)
        except Exception:
            return f"{change}, which could not be restored"
        return change


@contextmanager
def isolated() -> Iterator[list[str]]:
    """Run the code of a module so that it changes nothing for others.

    Random numbers, the defaults of torch and NumPy, the number of threads and the working directory are restored
    afterwards, and what is printed goes to stderr. The code finds the CPU as default device, and gradients enabled,
    whatever the caller is doing: a table that a module computes when it is imported outlives the build on the meta
    device, say, that needed the module first.

    Yields:
        A list that names what was changed, once the block is left, e.g. ``default dtype (torch.float32 to
        torch.float64)``.
    """
    changes: list[str] = []
    with stdout_to_stderr(), torch.inference_mode(False), _cpu_as_default():
        before = [(setting, setting.value) for setting in (*_SETTINGS, *_RANDOM_NUMBERS)]
        try:
            yield changes
        finally:
            changes += filter(None, [setting.restore(value) for setting, value in before])


@contextmanager
def random_numbers_kept() -> Iterator[None]:
    """Put the global random numbers of Python, NumPy and torch, on every device, back to where they were."""
    before = [(setting, setting.value) for setting in _RANDOM_NUMBERS]
    try:
        yield
    finally:
        for setting, value in before:
            setting.restore(value)


def seed_torch(seed: int) -> None:
    """`torch.manual_seed`, which formats the stack at each call for devices that may be initialised later.

    Where there are none, that would be most of the time of a small model that is built.
    """
    if _has_accelerator():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@cache
def _has_accelerator() -> bool:
    return torch.accelerator.is_available()


@contextmanager
def _cpu_as_default() -> Iterator[None]:
    """Make the CPU the default device, within a ``with torch.device(...)`` too."""
    before = _default_device()
    if before == "cpu":
        yield
        return
    torch.set_default_device("cpu")
    try:
        yield
    finally:
        torch.set_default_device(None)
        if _default_device() != before:  # it had not come from a `with`
            torch.set_default_device(before)


def _default_device() -> str:
    return str(torch.get_default_device())


def _attributes(*paths: str) -> Iterator[_Setting]:
    """Settings of torch by where they are found; those that this version of torch does not have are left out."""
    for path in paths:
        parent, _, name = path.rpartition(".")
        try:
            owner = attrgetter(parent)(torch)
        except AttributeError:
            continue
        if hasattr(owner, name):
            yield _Setting(f"torch.{path}", partial(getattr, owner, name), partial(setattr, owner, name))


def _deterministic() -> str:
    if not torch.are_deterministic_algorithms_enabled():
        return "off"
    return "warnings only" if torch.is_deterministic_algorithms_warn_only_enabled() else "on"


def _set_deterministic(mode: str) -> None:
    torch.use_deterministic_algorithms(mode != "off", warn_only=mode == "warnings only")


_FLOAT32 = (
    _Setting("", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    *_attributes(
        "backends.cudnn.allow_tf32",
        "backends.fp32_precision",
        *(f"backends.{part}.fp32_precision" for part in ("cuda.matmul", "cudnn", "cudnn.conv", "cudnn.rnn")),
        *(f"backends.{part}.fp32_precision" for part in ("mkldnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")),
    ),
)
"""One fact in two interfaces of torch, the newer ones after those that they refine: restored in this order."""


def _restore_float32(before: Iterable[Any]) -> None:
    for setting, value in zip(_FLOAT32, before, strict=True):
        setting.restore(value)


def _attention_backends() -> tuple[bool, ...]:
    cuda = torch.backends.cuda
    return cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.math_sdp_enabled(), cuda.cudnn_sdp_enabled()


def _enable_attention_backends(flags: tuple[bool, ...]) -> None:
    cuda = torch.backends.cuda
    enable = cuda.enable_flash_sdp, cuda.enable_mem_efficient_sdp, cuda.enable_math_sdp, cuda.enable_cudnn_sdp
    for switch, flag in zip(enable, flags, strict=True):
        switch(flag)


def _autocast(device: str) -> _Setting:
    return _Setting(
        f"autocast on {device}",
        lambda: torch.is_autocast_enabled(device),
        lambda enabled: torch.set_autocast_enabled(device, enabled),
    )


_SETTINGS = (
    # The default device comes first: it says where the tensors are made with which others are restored.
    _Setting("default device", _default_device, lambda _: torch.set_default_device(None)),
    _Setting("default dtype", torch.get_default_dtype, torch.set_default_dtype),
    _Setting("gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
    _Setting("deterministic algorithms", _deterministic, _set_deterministic),
    _Setting("float32 precision", lambda: [setting.value for setting in _FLOAT32], _restore_float32, shown=False),
    _Setting("attention backends", _attention_backends, _enable_attention_backends, shown=False),
    _Setting("anomaly detection", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    _autocast("cpu"),
    _autocast("cuda"),
    _Setting("number of threads", torch.get_num_threads, torch.set_num_threads),
    # There is no function that says so. A subnormal number is 0 where they are flushed.
    _Setting("flush denormals", lambda: sys.float_info.min / 2 == 0, torch.set_flush_denormal),
    *_attributes("backends.cudnn.enabled", "backends.cudnn.benchmark", "backends.cudnn.deterministic"),
    _Setting("NumPy error handling", np.geterr, lambda handling: np.seterr(**handling), shown=False),
    _Setting("working directory", os.getcwd, os.chdir),
)


def _numpy_numbers() -> tuple[Any, ...]:
    kind, keys, *rest = np.random.get_state()
    return (kind, np.asarray(keys).tobytes(), *rest)


def _set_numpy_numbers(state: tuple[Any, ...]) -> None:
    kind, keys, *rest = state
    np.random.set_state((kind, np.frombuffer(keys, np.uint32), *rest))


def _device_numbers(device: Any) -> list[bytes] | None:
    """The states on all devices of a kind that is in use."""
    return [_bytes(state) for state in device.get_rng_state_all()] if device.is_initialized() else None


def _bytes(state: torch.Tensor) -> bytes:
    return state.numpy().tobytes()


def _tensor(state: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(state), dtype=torch.uint8)


_RANDOM_NUMBERS = (
    _Setting("random numbers of Python", random.getstate, random.setstate, shown=False),
    _Setting("random numbers of NumPy", _numpy_numbers, _set_numpy_numbers, shown=False),
    _Setting(
        "random numbers of torch",
        lambda: _bytes(torch.get_rng_state()),
        lambda state: torch.set_rng_state(_tensor(state)),
        shown=False,
    ),
    _Setting(
        "random numbers of CUDA",
        lambda: _device_numbers(torch.cuda),
        lambda states: torch.cuda.set_rng_state_all([_tensor(state) for state in states]),
        shown=False,
    ),
    _Setting(
        "random numbers of MPS",
        lambda: _bytes(torch.mps.get_rng_state()) if torch.backends.mps.is_available() else None,
        lambda state: torch.mps.set_rng_state(_tensor(state)),
        shown=False,
    ),
)
