"""From the name of a hybrid to the pattern that it stands for."""

from itertools import groupby

from zoo.errors import UsageError
from zoo.model.create import create
from zoo.plugin.kinds import HYBRID, MIXER
from zoo.plugin.pattern import Call, Layer, Pattern, parse
from zoo.plugin.registry import Registry


def write_out(pattern: Pattern, layers: int | None, registry: Registry) -> tuple[Pattern, int | None]:
    """The pattern that the name of a hybrid stands for, and of how many layers; any other pattern as it is.

    Args:
        pattern: e.g. that of ``"qwen3-next"``.
        layers: how many the user wants; None for the reduced number of the hybrid.
        registry: where hybrids are looked up.

    Raises:
        UsageError: a hybrid as a part of a larger pattern, or options that it does not take.
        PluginError: the hybrid fails, or what it gives is no pattern.
    """
    rows = pattern.layers()
    named = [call for row in rows for call in row.mixers if _is_hybrid(call, registry)]
    if not named:
        return pattern, layers
    call = named[0]
    if pattern != Pattern((Layer((Call(call.name, call.options),)),)):
        raise UsageError(f"{call.name} is a hybrid, which stands for a whole pattern: write it alone")
    hybrid = create(registry[HYBRID].find(call.name), call.keywords)
    count = hybrid.reduced if layers is None else layers
    return _shortened(parse(hybrid.pattern(count)), count), count


def _is_hybrid(call: Call, registry: Registry) -> bool:
    return call.name in registry[HYBRID].names and call.name not in registry[MIXER].names


def _shortened(pattern: Pattern, layers: int) -> Pattern:
    """The first layers of a pattern that has more."""
    rows = pattern.layers()[:layers]
    if len(rows) == len(pattern.layers()):
        return pattern
    runs = ((row, len(list(run))) for row, run in groupby(map(str, rows)))
    return parse(", ".join(row if count == 1 else f"{row}*{count}" for row, count in runs))
