"""What there is to know of the registered members of any kind, as plain data that a machine can read."""

from typing import Any

from zoo.describe.parts import parse_doc, source_file, tell_option, tell_origin
from zoo.errors import UsageError
from zoo.model.create import create
from zoo.plugin import kinds
from zoo.plugin.catalogue import Entry
from zoo.plugin.kinds import Kind
from zoo.plugin.known import how_to_install
from zoo.plugin.options import did_you_mean
from zoo.plugin.pattern import Call
from zoo.plugin.registry import Registry


def list_members(registry: Registry, kind: Kind, glob: str = "*") -> list[dict[str, Any]]:
    """The members whose name matches, in natural order: name, kind, summary, paper, options, origin."""
    return [describe_entry(entry, registry) for entry in registry[kind].list(glob)]


def find_member(call: Call, registry: Registry) -> Entry[Any]:
    """The member that a call names: ``swiglu``, or ``channel-mixer:swiglu`` where several kinds have the name.

    Raises:
        UsageError: no kind has it, or several have.
        PluginError: the plugin that should give it is broken or missing.
    """
    first, _, rest = call.name.partition(":")
    named = [kind for kind in kinds.KINDS if rest and kind.name == first]
    if named:
        return registry[named[0]].find(rest)
    plain = call.name.rpartition(":")[2]
    having = [
        kind for kind in kinds.KINDS if any(entry.name == plain.replace("_", "-") for entry in registry[kind].entries)
    ]
    if len(having) > 1:
        names = " or ".join(f"{kind.name}:{plain}" for kind in having)
        raise UsageError(f"{plain!r} is a {' and a '.join(map(str, having))}: write {names}")
    try:
        return registry[having[0] if having else kinds.MIXER].find(call.name)
    except UsageError:
        if not having and plain == call.name:
            _look_beyond(plain, registry)
        raise


def is_member(call: Call, registry: Registry) -> bool:
    """Whether a member of any kind has the name of a call."""
    name = call.name.replace("_", "-")
    return any(entry.name == name for kind in kinds.KINDS for entry in registry[kind].entries)


def _look_beyond(name: str, registry: Registry) -> None:
    """Say what to do about a name that no kind has, where that is known.

    Raises:
        UsageError: the name of a member of whatever kind is near.
        PluginError: a plugin that is not installed has it, which is for the catalogue of its kind to say.
    """
    for kind in kinds.KINDS:
        if how_to_install(kind.name, name):
            registry[kind].find(name)
    names = [each for kind in kinds.KINDS for each in registry[kind].names]
    if near := did_you_mean(name, names):
        raise UsageError(f"no mixer is named {name!r}, nor another member{near}; see all with: zoo list --kind all")


def describe_member(call: Call, entry: Entry[Any], registry: Registry) -> dict[str, Any]:
    """What `list_members` says of one member, the parts of its docstring, and its file; the pattern of a hybrid.

    Raises:
        UsageError: an option that it does not have.
    """
    entry.check(call.keywords)
    described = {**describe_entry(entry, registry), **parse_doc(entry.doc), "call": str(call)}
    if entry.kind == kinds.HYBRID:
        hybrid = create(entry, call.keywords)
        layers = {"layers": hybrid.depth or None, "reduced": hybrid.reduced}
        described |= {"pattern": hybrid.pattern(hybrid.depth or hybrid.reduced), **layers}
    return described | {"origin": {**tell_origin(entry), "file": source_file(entry)}}


def describe_entry(entry: Entry[Any], registry: Registry) -> dict[str, Any]:
    """Name, kind, summary, paper, options and origin."""
    return {
        "name": registry[entry.kind].display_name(entry),
        "kind": entry.kind.name,
        "summary": entry.summary,
        "paper": entry.paper,
        "options": [tell_option(option) for option in entry.options],
        "origin": tell_origin(entry),
    }
