"""What of a machine and an environment stands in the way of training, and what to do about it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from zoo.describe.facts import THREAD_VARIABLES, Facts
from zoo.plugin.options import did_you_mean

VARIABLES = ("ZOO_ALLOW_CHANGED", "ZOO_BLOCK_PLUGINS", "ZOO_CACHE", "ZOO_PLUGIN_FILES", "ZOO_PLUGINS")
"""The variables that the zoo reads."""

_GB = 1e9
_MIN_MEMORY, _LITTLE_MEMORY = 1 * _GB, 3 * _GB
_MIN_DISK, _LITTLE_DISK = 0.5 * _GB, 5 * _GB
_LARGE_CACHE = 20 * _GB


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: what, in a word or two.
        status: ``note`` is what may surprise or slow down, ``problem`` what breaks something.
        text: what was found.
        advice: what to do; empty where nothing is to be done.
    """

    topic: str
    status: Literal["ok", "note", "problem"]
    text: str
    advice: str = ""


def examine(facts: Facts) -> list[Finding]:
    """Judge the facts: a finding or more for each topic, in the order in which they are shown."""
    topics = (_versions, _processor, _threads, _load, _memory, _disk, _devices, _bf16, _compiler, _cache)
    found = [topic(facts) for topic in topics]
    return [*found, *_plugins(facts), *_variables(facts)]


def _versions(facts: Facts) -> Finding:
    text = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    if missing := [name for name, version in facts.versions.items() if version == "not installed"]:
        advice = "install the zoo, e.g. with pip install -e . in its checkout: plugins are found by what is installed"
        return Finding("versions", "problem", f"{text}, {facts.system}", advice if "zoo" in missing else "")
    return Finding("versions", "ok", f"{text}, {facts.system}")


def _processor(facts: Facts) -> Finding:
    cores = f"{facts.cores} core{'s' * (facts.cores != 1)}"
    if facts.quota is not None and facts.quota < facts.cores:
        text = f"{facts.processor}, {cores}, of which a container gets the time of {facts.quota:g}"
        if facts.threads > max(1, facts.quota):
            share = max(1, int(facts.quota))
            return Finding("processor", "note", text, f"set OMP_NUM_THREADS={share}: more threads wait for each other")
        return Finding("processor", "ok", text)
    return Finding("processor", "ok", f"{facts.processor}, {cores}")


def _threads(facts: Facts) -> Finding:
    said = ", ".join(f"{name}={facts.variables[name]}" for name in THREAD_VARIABLES if name in facts.variables)
    text = f"torch computes with {facts.threads}" + (f" ({said})" if said else "")
    usable = facts.cores if facts.quota is None else min(facts.cores, max(1, int(facts.quota)))
    if facts.threads > facts.cores:
        return Finding("threads", "note", text, f"there are {facts.cores} cores: set OMP_NUM_THREADS={facts.cores}")
    limits = [name for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in facts.variables]
    # a core with two hardware threads counts twice, and torch takes half of them: that is as it should be
    if facts.threads * 2 < usable or (facts.threads < usable and limits):
        what = f"unset {' and '.join(limits)}" if limits else f"set OMP_NUM_THREADS={usable}"
        return Finding(
            "threads", "note", f"{text} of {usable} cores", f"{what} unless the others are for something else"
        )
    return Finding("threads", "ok", text)


def _load(facts: Facts) -> Finding:
    others = f"{facts.others:g} other process{'es' * (facts.others != 1)} want{'s' * (facts.others == 1)} to run"
    text = others + ("" if facts.load is None else f"; load {facts.load:.1f} over the last minute")
    if facts.busy:
        advice = "training and timings will be slower: wait, or close them (top shows which they are)"
        return Finding("load", "note", text, advice)
    return Finding("load", "ok", text)


def _memory(facts: Facts) -> Finding:
    if facts.memory is None:
        return Finding("memory", "ok", "this system does not tell")
    free, total = facts.memory
    text = f"{_size(free)} of {_size(total)} free"
    advice = "close something, or train a smaller model: zoo train --dry-run says what a run needs"
    if free < _MIN_MEMORY:
        return Finding("memory", "problem", text, advice)
    return Finding("memory", "note", text, advice) if free < _LITTLE_MEMORY else Finding("memory", "ok", text)


def _disk(facts: Facts) -> Finding:
    free = [size for size in (facts.folder_free, facts.cache_free) if size is not None]
    text = f"{_free(facts.folder_free)} free here, {_free(facts.cache_free)} for the cache"
    if not facts.folder_writable:
        advice = "change to a folder of your own: runs are saved in runs/ below where the command is given"
        return Finding("disk", "note", f"{text}; this folder cannot be written to", advice)
    if not free or min(free) >= _LITTLE_DISK:
        return Finding("disk", "ok", text)
    full = facts.folder_free is not None and min(free) == facts.folder_free
    advice = (
        "remove runs (zoo runs rm), or train in another folder" if full else f"empty {facts.cache}, or set ZOO_CACHE"
    )
    return Finding("disk", "problem" if min(free) < _MIN_DISK else "note", text, advice)


def _devices(facts: Facts) -> Finding:
    text = "; ".join(["cpu", *(f"{name} ({what})" for name, what in facts.devices.items())])
    if facts.unused_gpu:
        advice = "install a torch built for CUDA (https://pytorch.org/get-started), or a newer driver"
        return Finding("devices", "note", f"{text}; there is an NVIDIA GPU that this torch cannot use", advice)
    return Finding("devices", "ok", text)


def _bf16(facts: Facts) -> Finding:
    if facts.bf16:
        return Finding(
            "bf16", "ok", f"makes training faster on {' and '.join(facts.bf16)}; zoo train takes it by itself"
        )
    return Finding("bf16", "ok", "does not pay here, for want of units for it; zoo train takes fp32 by itself")


def _compiler(facts: Facts) -> Finding:
    if facts.compiler is None:
        advice = "install a C++ compiler, e.g. with apt install g++, or name one in CXX"
        return Finding("compiler", "note", "none, so that zoo train --compile fails on the cpu", advice)
    if not facts.python_headers:
        advice = "install Python's headers, e.g. with apt install python3-dev"
        text = f"{facts.compiler}, without Python.h, so that zoo train --compile fails on the cpu"
        return Finding("compiler", "note", text, advice)
    return Finding("compiler", "ok", f"{facts.compiler}, for torch.compile")


def _cache(facts: Facts) -> Finding:
    text = f"{facts.cache}, {_size(facts.cache_size)}"
    if not facts.cache_writable:
        advice = "set ZOO_CACHE to a folder that can be written to"
        return Finding("cache", "problem", f"{text}, cannot be written to", advice)
    if facts.cache_size > _LARGE_CACHE:
        return Finding("cache", "note", text, "it may be removed: all in it is made or downloaded again")
    return Finding("cache", "ok", text)


def _plugins(facts: Facts) -> Iterator[Finding]:
    """One finding for all that work, and one for each that does not."""
    working = [plugin for plugin in facts.plugins if plugin["status"] == "ok"]
    names = list(dict.fromkeys(f"{plugin['distribution']} {plugin['version']}" for plugin in working))
    if not facts.plugins:
        advice = "let ZOO_PLUGINS and ZOO_BLOCK_PLUGINS allow some, or install mixer-zoo anew"
        yield Finding("plugins", "problem", "none, so that there is no mixer", advice)
    elif names:
        yield Finding("plugins", "ok", ", ".join(names))
    for plugin in facts.plugins:
        name = f"{plugin['distribution']} {plugin['version']}".strip()
        if plugin["status"] != "ok":
            advice = f"zoo plugins --json shows where; do without it: ZOO_BLOCK_PLUGINS={plugin['distribution']}"
            yield Finding("plugins", "problem", f"{name} is broken: {plugin['error']}", advice)
        elif plugin["changed_global_state"]:
            changes = ", ".join(plugin["changed_global_state"])
            text = f"{name} changed global state when it was imported, now restored: {changes}"
            yield Finding("plugins", "note", text, "its author should remove that from the import")
    for name, requirement in facts.unmet.items():
        text = f"{name} asks for {requirement}, and this is {facts.versions['zoo']}"
        yield Finding("plugins", "problem", text, f"pip install -U {name} mixer-zoo")


def _variables(facts: Facts) -> Iterator[Finding]:
    known = {name: value for name, value in facts.variables.items() if name in VARIABLES}
    text = ", ".join(f"{name}={value}" for name, value in known.items())
    yield Finding("variables", "ok", text or "none of the zoo's is set")
    for name in facts.variables:
        if name.startswith("ZOO_") and name not in VARIABLES:
            yield Finding(
                "variables", "note", f"{name} means nothing to the zoo{did_you_mean(name, VARIABLES)}", f"unset {name}"
            )


def as_plain(facts: Facts, findings: list[Finding]) -> dict[str, Any]:
    """Facts and findings as JSON has them."""
    return {"findings": [vars(finding) for finding in findings], "facts": _plain(vars(facts))}


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in facts.items()}


def _size(size: float) -> str:
    return f"{size / _GB:,.1f} GB" if size >= _GB / 10 else f"{size / 1e6:,.1f} MB"


def _free(size: int | None) -> str:
    return "an unknown size" if size is None else _size(size)
