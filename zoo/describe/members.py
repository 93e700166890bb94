"""What there is to know of the registered members of any kind, as plain data that a machine can read."""

from typing import Any

from zoo.describe.parts import parse_doc, source_file, tell_option, tell_origin
from zoo.errors import UsageError
from zoo.model.create import create
from zoo.plugin import kinds
from zoo.plugin.catalogue import Entry
from zoo.plugin.kinds import Kind
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
    having = [kind for kind in kinds.KINDS if any(entry.name == plain for entry in registry[kind].entries)]
    if len(having) > 1:
        names = " or ".join(f"{kind.name}:{plain}" for kind in having)
        raise UsageError(f"{plain!r} is a {' and a '.join(map(str, having))}: write {names}")
    return registry[having[0] if having else kinds.MIXER].find(call.name)


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
