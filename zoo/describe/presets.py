"""What there is to know of a preset, as plain data that a machine can read."""

from typing import Any

from zoo.errors import UsageError
from zoo.plugin.pattern import Call
from zoo.train.resolve import list_presets, load_preset
from zoo.train.settings import Settings

PRESET = "preset"
"""What its kind is called beside those of members."""


def describe_preset(call: Call) -> dict[str, Any]:
    """The preset that a call names: its name, kind, summary, and the settings that it sets, each with its meaning.

    Raises:
        UsageError: there is none, or options were given.
    """
    name = call.name.removeprefix(f"{PRESET}:")
    values = load_preset(name)
    if call.options:
        raise UsageError(f"the preset {name} has no options: write zoo train --preset {name} --set NAME=VALUE")
    meanings = {setting: Settings.model_fields[setting].description or "" for setting in values}
    settings = [{"name": each, "value": value, "meaning": meanings[each]} for each, value in values.items()]
    return {"name": name, "kind": PRESET, "summary": list_presets()[name], "settings": settings}


def is_preset(call: Call) -> bool:
    """Whether a call names a preset: ``preset:NAME``, or a name that is one."""
    return call.name.startswith(f"{PRESET}:") or call.name in list_presets()
