"""What a run was made with: versions, machine, data and source, for repeating it."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

COMPILERS = ("c++", "g++", "clang++")


def describe_environment(*, plugins: Mapping[str, Any], data_sha256: str, device: str = "cpu") -> dict[str, Any]:
    """Everything beside the settings that a run may depend on, of JSON's types.

    Args:
        plugins: what gives each mixer that the run uses, as `zoo.train.plugins.plugins_of` records it.
        data_sha256: the checksum of the text that the run reads.
        device: where it trains.
    """
    import torch

    return {
        "zoo": _zoo_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "plugins": dict(plugins),
        "host": platform.node(),
        "platform": platform.platform(),
        "cpu": {"name": cpu_name(), "cores": os.cpu_count(), "capability": torch.backends.cpu.get_cpu_capability()},
        "threads": {"intra_op": torch.get_num_threads(), "inter_op": torch.get_num_interop_threads()},
        "device": _device_name(device),
        "data_sha256": data_sha256,
        "git": _git_revision(),
    }


def cpu_name() -> str:
    """The processor's name as its maker gives it, as far as the system knows it."""
    system = platform.system()
    if system == "Linux":
        name = _linux_cpu_name(Path("/proc/cpuinfo"))
    elif system == "Darwin":
        name = _output("sysctl", "-n", "machdep.cpu.brand_string")
    else:
        name = platform.processor()
    return name or platform.machine()


def find_compiler(variables: Mapping[str, str]) -> str | None:
    """The C++ compiler that torch.compile uses on a CPU; None if there is none."""
    named = [variables["CXX"]] if variables.get("CXX") else COMPILERS
    return next((found for name in named if (found := shutil.which(name))), None)


def _linux_cpu_name(path: Path) -> str | None:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def _device_name(device: str) -> str:
    import torch

    if torch.device(device).type == "cuda":
        return f"{device}: {torch.cuda.get_device_name(device)}"
    return device


def _git_revision() -> dict[str, Any] | None:
    revision = _output("git", "rev-parse", "HEAD")
    if not revision:
        return None
    changes = _output("git", "status", "--porcelain", "--untracked-files=no")
    return {"revision": revision, "dirty": None if changes is None else bool(changes)}


def _output(*command: str) -> str | None:
    """What a command prints; None where it is missing, fails or takes long."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # looking at a repository must not write to it
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=5, check=True, env=environment
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _zoo_version() -> str:
    try:
        return importlib.metadata.version("mixer-zoo")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
