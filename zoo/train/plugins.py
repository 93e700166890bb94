"""Which members of plugins a run uses: recorded when it starts, and looked for when it is resumed or loaded."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from zoo.data.load import task_call
from zoo.data.text import corpus_call
from zoo.errors import UsageError
from zoo.model.members import find_channel_mixer
from zoo.plugin import kinds
from zoo.plugin.catalogue import Entry, Plugin
from zoo.plugin.kinds import CORPUS, MIXER, OPTIMIZER, RESIDUAL, TASK, TOKENIZER, Kind
from zoo.plugin.local import LOCAL
from zoo.plugin.registry import Registry, get_registry
from zoo.plugin.source_code import file_sha256, source_file, source_sha256
from zoo.train.run_directory import RunDirectory
from zoo.train.settings import Settings

ALLOW_CHANGED = "ZOO_ALLOW_CHANGED"


def plugins_of(settings: Settings, *, with_data: bool = True, with_optimizer: bool = True) -> dict[str, dict[str, str]]:
    """What gives each member that a run of these settings uses.

    Args:
        settings: of the run.
        with_data: with what it learns from, too.
        with_optimizer: with what trains it, too.

    Returns:
        By recorded name: its ``distribution``, its ``version``, the ``source_sha256`` of its code, see
        `zoo.plugin.source_code.source_sha256`, if it has a source file; and where it is not installed ``file`` and
        ``file_sha256``, if it has one, and of what `zoo.register` registered the name of its ``class``. A mixer is
        recorded by its name, everything else as ``kind:name``.
    """
    registry = get_registry()
    used = [*_used(settings, registry), *(_used_as_data(settings, registry) if with_data else ())]
    if with_optimizer:
        name = settings.optimizer_call.name
        used.append((name, registry[OPTIMIZER].find(name)))
    return dict(sorted((_recorded_name(entry.kind, name), _record(entry)) for name, entry in used))


def recorded_plugins(run: RunDirectory) -> dict[str, dict[str, str]]:
    """What `plugins_of` recorded for a run.

    Raises:
        UsageError: something else stands there.
    """
    recorded = run.environment.get("plugins")
    if not isinstance(recorded, dict) or not all(map(_is_record, recorded.values())):
        raise UsageError(f"{run.path / 'env.json'} is damaged (it records no plugins): put back a good copy")
    return recorded


def _is_record(record: Any) -> bool:
    if not isinstance(record, dict) or not {"distribution", "version"} <= record.keys():
        return False
    return all(isinstance(value, str) for value in record.values())


def check_plugins(recorded: Mapping[str, Mapping[str, str]], *, allow_changed: bool = False) -> dict[str, str]:
    """Refuse to go on without what `plugins_of` recorded.

    Args:
        recorded: by recorded name.
        allow_changed: go on with a file that was edited since; so does the environment variable ZOO_ALLOW_CHANGED,
            which processes that are started inherit.

    Returns:
        What has another version or other source code now, as a sentence, by its recorded name. Code that was not
        recorded is not compared.

    Raises:
        PluginError: a distribution is missing or broken.
        UsageError: a distribution is there and does not give a name any more; a file was not passed, or has changed.
    """
    registry, changed = get_registry(), {}
    for recorded_name, before in recorded.items():
        kind, name = split_recorded(recorded_name)
        now = _record(_entry_now(kind, name, before, registry))
        change = _change(name, before, now)
        if change and "file" in before and not (allow_changed or os.environ.get(ALLOW_CHANGED)):
            raise UsageError(f"{change}; go on all the same with `allow_changed`")
        if change:
            changed[recorded_name] = change
    return changed


def plain_name(recorded: str) -> str:
    """The name of a member without its kind."""
    return split_recorded(recorded)[1]


def split_recorded(recorded: str) -> tuple[Kind, str]:
    """The kind and the name of what `plugins_of` recorded."""
    first, colon, rest = recorded.partition(":")
    kind = next((kind for kind in kinds.KINDS if colon and kind.name == first), None)
    return (MIXER, recorded) if kind is None else (kind, rest)


def with_recorded_origins(environment: Mapping[str, Any]) -> Registry:
    """The registry in which plain names mean what they meant when `plugins_of` recorded them.

    Raises:
        UsageError: a file was not passed, or a class that was registered then is not registered.
    """
    origins: defaultdict[str, dict[str, str]] = defaultdict(dict)
    registry = get_registry()
    for recorded, before in environment["plugins"].items():
        kind, name = split_recorded(recorded)
        origins[kind.name][name] = before["distribution"]
        if not _was_installed(before):
            entry = _entry_now(kind, name, before, registry)
            origins[kind.name][name] = entry.origin.distribution
            plain = name.rpartition(":")[2]
            if entry.name != plain:
                registry = registry.with_plugin(Plugin(entry.origin, (replace(entry, name=plain),)))
    return registry.with_recorded_origins(origins)


def _used(settings: Settings, registry: Registry) -> Iterator[tuple[str, Entry[Any]]]:
    """The members of which the model is made, with the name that the settings use."""
    residual = settings.residual_call.name
    yield residual, registry[RESIDUAL].find(residual)
    for layer in settings.layer_calls:
        for call in layer.mixers:
            yield call.name, registry[MIXER].find(call.name)
        assert layer.channel is not None
        yield layer.channel.name, find_channel_mixer(layer.channel.name, registry)


def _used_as_data(settings: Settings, registry: Registry) -> Iterator[tuple[str, Entry[Any]]]:
    """The task, or what a text is read with."""
    task = task_call(settings.data)
    if task is not None:
        yield task.name, registry[TASK].find(task.name)
        return
    if corpus := corpus_call(settings.data):
        yield corpus.name, registry[CORPUS].find(corpus.name)
    tokenizer = settings.tokenizer_call.name
    yield tokenizer, registry[TOKENIZER].find(tokenizer)


def _recorded_name(kind: Kind, name: str) -> str:
    return name if kind is MIXER else f"{kind.name}:{name}"


def _record(entry: Entry[Any]) -> dict[str, str]:
    origin, source = entry.origin, source_sha256(entry.cls)
    record = {"distribution": origin.distribution, "version": origin.version}
    if source is not None:
        record["source_sha256"] = source
    if not origin.is_installed:
        file = origin.file or source_file(entry.cls)
        record |= {} if origin.file else {"class": entry.cls.__name__}
        record |= {"file": file, "file_sha256": file_sha256(file)} if file else {}
    return record


def _was_installed(before: Mapping[str, str]) -> bool:
    return "file" not in before and before["distribution"] != LOCAL


def _entry_now(kind: Kind, name: str, before: Mapping[str, str], registry: Registry) -> Entry[Any]:
    """What gives a recorded member now. What was not installed may come from a file or from `zoo.register`, either way.

    Raises:
        PluginError, UsageError: as `check_plugins`.
    """
    plain = name.rpartition(":")[2]
    if _was_installed(before):
        return registry[kind].find(f"{before['distribution']}:{plain}")
    passed = [entry for entry in registry[kind].entries if not entry.origin.is_installed]
    for entry in passed:
        if entry.name == plain:
            return entry
    for entry in passed:  # a file gives a class under its own name, whatever it was registered as in a script
        if entry.origin.file and entry.cls.__name__ == before.get("class"):
            return entry
    if "file" in before:
        raise UsageError(f"the {kind} {plain!r} came from the file {before['file']}: pass it with -p {before['file']}")
    raise UsageError(
        f"the {kind} {plain!r} was registered in the process that used it: define it in a file and pass that with "
        "-p FILE, or zoo.register it again"
    )


def _change(name: str, before: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """How a member differs from what it was, as a sentence; None if it does not."""
    if "file" in before:
        if len({before.get("file_sha256"), now.get("file_sha256")}) > 1:
            return f"{name} comes from the file {now.get('file')}, which has changed since this began"
        return None
    origin = f"{name} comes from {now['distribution']} {now['version']}"
    if now["version"] != before["version"]:
        return f"{origin}, and came from {before['version']} when this began"
    if len({before.get("source_sha256"), now.get("source_sha256"), None}) > 2:
        return f"{origin}, whose source code has changed since this began"
    return None
