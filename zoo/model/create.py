"""From a registered class and options to an instance, for members of every kind."""

from typing import Any

from zoo.errors import PluginError, UsageError, ZooError
from zoo.model.tracebacks import describe_cause
from zoo.plugin.catalogue import Entry
from zoo.plugin.options import parameters_of


def create(entry: Entry[Any], options: dict[str, Any], **filled: Any) -> Any:
    """Build a member.

    Args:
        entry: of the member.
        options: what the user gave.
        filled: what the host fills in where the signature of ``__init__`` names it and the user gave nothing.

    Raises:
        UsageError: an unknown option, a value of the wrong type, or one that the member refuses with a ValueError.
        PluginError: the member itself fails.
    """
    given = entry.check(options)
    named = parameters_of(entry.cls)
    arguments = {name: value for name, value in filled.items() if name in named} | given
    try:
        return entry.cls(**arguments)
    except ZooError:
        raise
    except ValueError as error:
        raise UsageError(f"{entry.name}: {error}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit or pytest's Skipped too
        cause = describe_cause(error, entry.cls)
        raise PluginError(f"{entry.name}, from {entry.origin}, failed to build: {cause}") from error
