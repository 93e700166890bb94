"""What this machine and this environment are, as far as training depends on them."""

import importlib.metadata
import os
import platform
import re
import shutil
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.describe.plugins import list_plugins
from zoo.files.cache_directory import cache_directory
from zoo.files.environment import cpu_name, find_compiler
from zoo.plugin.registry import get_registry

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_DISTRIBUTION = "mixer-zoo"
_LEAST = re.compile(rf"{_DISTRIBUTION}\s*(?:\[[^]]*\])?\s*\(?\s*(?:[<>=!~][^;]*)?>=\s*([\d.]+)")
_PROTOTYPE_DIM = 128
"""The width at which bfloat16 is judged, that of the default preset."""


@dataclass(frozen=True)
class Facts:
    """The facts that `zoo.describe.doctor` judges; None is what the system does not tell.

    Attributes:
        versions: of the zoo, Python, torch and numpy.
        system: the operating system.
        processor: its name.
        cores: those of the machine that this process may use.
        quota: so many cores' time it gets, where a container limits it.
        threads: as many as torch will compute with.
        load: processes that want to run, the average of a minute.
        others: processes that want to run now, beside this one.
        busy: whether that many slow this one down.
        memory: bytes that are free, and all.
        cache: the folder.
        cache_size: bytes in it.
        cache_free: bytes that are free where it lies.
        cache_writable: whether it can be made, or be written to.
        folder_free: bytes that are free where the command is given.
        folder_writable: whether runs can be saved there.
        devices: names by device, e.g. ``{"cuda:0": "NVIDIA H100, 80 GB"}``, beside the CPU.
        unused_gpu: there is an NVIDIA GPU that torch cannot use.
        bf16: the devices on which bfloat16 makes training faster.
        compiler: that of C++ which torch.compile finds.
        python_headers: whether that compiler finds ``Python.h``.
        plugins: as `zoo.describe.plugins.list_plugins` gives them.
        unmet: what distributions of plugins ask of the zoo and it is not, by distribution.
        variables: those of the zoo, and those about threads, that are set.
    """

    versions: Mapping[str, str]
    system: str
    processor: str
    cores: int
    quota: float | None
    threads: int
    load: float | None
    others: float
    busy: bool
    memory: tuple[int, int] | None
    cache: str
    cache_size: int
    cache_free: int | None
    cache_writable: bool
    folder_free: int | None
    folder_writable: bool
    devices: Mapping[str, str]
    unused_gpu: bool
    bf16: tuple[str, ...]
    compiler: str | None
    python_headers: bool
    plugins: tuple[Mapping[str, Any], ...]
    unmet: Mapping[str, str]
    variables: Mapping[str, str]


def gather_facts(*, others: float, busy: bool, environ: Mapping[str, str] = os.environ) -> Facts:
    """Look at this machine. Imports torch and the plugins.

    Args:
        others: processes that want to run, counted before this one was busy itself.
        busy: whether that many slow this one down.
        environ: the environment.
    """
    import torch

    from zoo.train.machine import bf16_pays

    cache, devices = cache_directory(), _devices()
    plugins = tuple(list_plugins(get_registry()))
    return Facts(
        versions={
            "zoo": _version(_DISTRIBUTION),
            "Python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": _version("numpy"),
        },
        system=platform.platform(),
        processor=cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        quota=read_quota(),
        threads=torch.get_num_threads(),
        load=_load(),
        others=others,
        busy=busy,
        memory=read_memory(),
        cache=str(cache),
        cache_size=sum(size_of(path) for path in cache.rglob("*")) if cache.is_dir() else 0,
        cache_free=_free(cache),
        cache_writable=_is_writable(cache),
        folder_free=_free(Path.cwd()),
        folder_writable=_is_writable(Path.cwd()),
        devices=devices,
        unused_gpu=Path("/dev/nvidia0").exists() and "cuda:0" not in devices,
        bf16=tuple(device for device in ["cpu", *devices] if bf16_pays(device, _PROTOTYPE_DIM)),
        compiler=find_compiler(environ),
        python_headers=(Path(sysconfig.get_paths()["include"]) / "Python.h").is_file(),
        plugins=plugins,
        unmet=find_unmet({plugin["distribution"] for plugin in plugins}),
        variables={n: v for n, v in sorted(environ.items()) if n.startswith("ZOO_") or n in THREAD_VARIABLES},
    )


def read_memory(path: Path = Path("/proc/meminfo"), limits: Path = Path("/sys/fs/cgroup")) -> tuple[int, int] | None:
    """Bytes of memory that are free, and all, or what a container may have of them; None on other systems."""
    try:
        rows = dict(line.split(":", 1) for line in path.read_text(encoding="ascii").splitlines())
        free, total = (int(rows[name].split()[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
    except (OSError, ValueError, KeyError, IndexError):
        return None
    limit, used = (_number(limits / name) for name in ("memory.max", "memory.current"))
    if limit is not None and used is not None and limit < total:
        return int(min(free, max(0, limit - used))), int(limit)
    return free, total


def read_quota(path: Path = Path("/sys/fs/cgroup/cpu.max")) -> float | None:
    """Of how many cores a container may use the time; None where nothing limits it."""
    try:
        quota, period = path.read_text(encoding="ascii").split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max" is no number
        return None


def find_unmet(distributions: set[str]) -> dict[str, str]:
    """The version of the zoo that these ask for at least, where the one that is installed is lower."""
    unmet = {}
    for name in sorted(distributions - {_DISTRIBUTION}):
        try:
            requirements = importlib.metadata.requires(name) or ()
        except importlib.metadata.PackageNotFoundError:  # a file
            continue
        for requirement in requirements:
            least = _LEAST.match(requirement.replace("_", "-").lower())
            if least and _release(least[1]) > _release(_version(_DISTRIBUTION)):
                unmet[name] = f"{_DISTRIBUTION}>={least[1]}"
    return unmet


def _release(version: str) -> list[int]:
    """The numbers of a version, without what tells one before or after a release."""
    release = re.match(r"[\d.]*", version)
    return [int(part) for part in release[0].split(".") if part] if release else []


def size_of(path: Path) -> int:
    """Bytes of a file, however quickly it goes away."""
    try:
        return path.lstat().st_size if path.is_file() else 0
    except OSError:
        return 0


def _devices() -> dict[str, str]:
    import torch

    found = {}
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(index)
        found[f"cuda:{index}"] = f"{properties.name}, {properties.total_memory / 1e9:.0f} GB"
    return found | ({"mps": platform.machine()} if torch.backends.mps.is_available() else {})


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def _free(folder: Path) -> int | None:
    """Bytes that are free where a folder lies, or will."""
    existing = next((path for path in [folder, *folder.parents] if path.is_dir()), Path(folder.anchor))
    try:
        return shutil.disk_usage(existing).free
    except OSError:
        return None


def _is_writable(folder: Path) -> bool:
    existing = next((path for path in [folder, *folder.parents] if os.path.lexists(path)), folder)
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
