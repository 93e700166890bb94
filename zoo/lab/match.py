"""Making a model as big as another: by its width, and then by the hidden width of its channel mixer."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

from zoo.errors import UsageError
from zoo.lab.size import Size, measure_size
from zoo.lab.sizing import Candidate, Quantity, Sizing
from zoo.model.backbone import Backbone
from zoo.model.members import find_channel_mixer
from zoo.plugin.kinds import MIXER
from zoo.plugin.pattern import Call
from zoo.plugin.registry import get_registry
from zoo.train.settings import Settings

LIMITS: dict[Quantity, float] = {"params": 0.01, "flops": 0.03, "state": 0.05}
"""By how much of the target a model may miss it."""

_QUANTITY_NAMES: dict[Quantity, str] = {
    "params": "parameters",
    "flops": "floating-point operations per token",
    "state": "numbers of state",
}
_STEPS = (8, 4, 2, 1)
"""Multiples of those that divide the given width are tried in turn: heads and groups have to divide widths."""
_MAX_HIDDEN_RATIO = 16
"""No hidden width of more than so many times the width is tried."""
_MAX_ATTEMPTS = 256
"""So many widths around a wanted one are tried before none fits."""
_OTHER_HEADS = 4
"""So many other numbers of heads are tried."""
_NEIGHBOURS = 12
"""Widths around the nearest that are tried as well where nothing else adjusts: a size may go up and down with them."""


@dataclass(frozen=True)
class Matched:
    """A model that is as big as it should be.

    Attributes:
        settings: those given, with another ``dim`` and perhaps another ``channel_mixer``.
        size: of the model that they describe.
        ratio: its quantity over the target.
    """

    settings: Settings
    size: Size
    ratio: float


def match(
    build: Callable[[Settings], Backbone],
    settings: Settings,
    *,
    quantity: Quantity,
    target: float,
    length: int,
    targets: int | None = None,
) -> Matched:
    """Find the width at which a model is as big as the target, with the hidden width as the fine adjustment.

    The nearest width comes first, among those that the mixers take, and as round as the given one (a multiple of 8, 4
    or 2) if that will do. What is then missing is made up by the hidden width of the settings' channel mixer, if it
    has one and some layer uses it; otherwise the widths alone have to come near enough. Where they do not, other
    numbers of heads are tried, which take other widths. If nothing is within `LIMITS` of the target, the nearest model
    is taken, one with another number of heads only where that halves the miss at least. The global random state is left
    as it was.

    Args:
        build: makes the model of some settings; also called under ``torch.device("meta")``. Where it raises a
            `UsageError`, the width counts as refused.
        settings: of the model that is to be resized.
        quantity: what is to be equal: ``"params"``, all of them, ``"flops"``, of training per token, or ``"state"``,
            numbers after `length` tokens.
        target: what it is to equal, more than 0.
        length: tokens in the sequence that is measured.
        targets: at how many of its positions the model predicts; None for all.

    Raises:
        UsageError: no width builds, or the model cannot stream and has no state.
    """
    if not target > 0:
        raise UsageError(
            f"there are {target:g} {_QUANTITY_NAMES[quantity]} to match: choose another `match`, or `match`=none"
        )
    nearest: Candidate | None = None
    sizing = Sizing(build, settings, quantity, target, length, targets=targets)
    for heads in _head_counts(settings):
        sizing.settings = settings.model_copy(update={"heads": heads})
        for candidate in _candidates(sizing):
            if candidate.miss <= LIMITS[quantity]:
                return _matched(sizing, candidate)
            # another number of heads is another model, which a small gain does not pay for
            worth = nearest is None or candidate.miss < nearest.miss / (1 if heads == nearest.settings.heads else 2)
            nearest = candidate if worth else nearest
        if nearest is None:
            sizing.model(settings)  # says what no width fixes
    if nearest is None or not nearest.ratio:
        raise UsageError(
            f"{str(settings.pattern)!r} has no {_QUANTITY_NAMES[quantity]} to match at any width: choose "
            "another `match`, or `match`=none"
        )
    return _matched(sizing, nearest)


def _candidates(sizing: Sizing) -> Iterator[Candidate]:
    """Models around the target, the most promising first, with the number of heads that the settings have."""
    tunable = sizing.quantity != "state" and _has_hidden_width(sizing.settings)
    for step in (step for step in _STEPS if sizing.settings.dim % step == 0):
        sides = sorted(_search(sizing, step), key=_by_miss)
        if tunable:
            yield from (_tuned(sizing, side) for side in sides)
        else:
            yield from _with_neighbours(sizing, sides, step)


def _head_counts(settings: Settings) -> list[int]:
    """The number of heads of the settings, then others near it, if some mixer of the pattern takes it from the host."""
    calls = [call for layer in settings.pattern.layers() for call in layer.mixers]
    takers = [call for call in calls if "heads" not in call.keywords and _takes_heads(call)]
    others = sorted(range(1, 2 * settings.heads + 1), key=lambda heads: abs(heads - settings.heads))
    return others[: 1 + _OTHER_HEADS] if takers else [settings.heads]


def _takes_heads(call: Call) -> bool:
    try:
        return any(option.name == "heads" for option in get_registry()[MIXER].find(call.name).options)
    except UsageError:  # the error comes when it is built
        return False


def _matched(sizing: Sizing, candidate: Candidate) -> Matched:
    size = measure_size(sizing.model(candidate.settings), length=sizing.length, targets=sizing.targets)
    return Matched(candidate.settings, size, candidate.ratio)


def _by_miss(candidate: Candidate) -> float:
    return candidate.miss


def _search(sizing: Sizing, step: int) -> list[Candidate]:
    """The candidates on both sides of the target with no buildable width between them; one if the other has none."""
    below: Candidate | None = None
    above: Candidate | None = None
    guess: float = sizing.settings.dim
    for turn in count():
        after = below.settings.dim if below else 0
        before = above.settings.dim if above else sizing.max_width + 1
        candidates = (
            sizing.measure(dim=width) for width in islice(_outward(guess, step, after, before), _MAX_ATTEMPTS)
        )
        candidate = next((candidate for candidate in candidates if candidate), None)
        if candidate is None:
            break
        if candidate.ratio < 1:
            below = candidate
        else:
            above = candidate
        guess = _guess(below, above, turn)
    return [side for side in (below, above) if side]


def _outward(guess: float, step: int, after: int, before: int) -> Iterator[int]:
    """The multiples of `step` between two widths, neither included, from the guess outward."""
    first = round(guess / step) * step
    first = min(max(first, after // step * step + step), (before - 1) // step * step)
    for offset in range(0, max(before - first, first - after), step):
        for width in (first + offset, first - offset)[: 2 if offset else 1]:
            if after < width < before:
                yield width


def _guess(below: Candidate | None, above: Candidate | None, turn: int) -> float:
    """Where the target may lie: between two widths by a power law and by halves in turn, beyond one at most twice."""
    if below and above:
        low, high = below.settings.dim, above.settings.dim
        if turn % 2 and 0 < below.ratio < above.ratio:
            power = math.log(above.ratio / below.ratio) / math.log(high / low)
            return low * math.exp(-math.log(below.ratio) / power)
        return (low + high) / 2
    # most sizes grow as the square of the width: for those the guess is a little beyond the target
    if below:
        return below.settings.dim * (1.05 * below.ratio**-0.5 if below.ratio > 0.25 else 2)
    assert above is not None
    return above.settings.dim * max(0.95 * above.ratio**-0.5, 0.25)


def _with_neighbours(sizing: Sizing, sides: Sequence[Candidate], step: int) -> Iterator[Candidate]:
    """The candidates, and behind them those of the widths around the first, if the target lies among them."""
    yield from sides
    if len(sides) == 2:
        for width in islice(_outward(sides[0].settings.dim, step, 0, sizing.max_width + 1), _NEIGHBOURS):
            if candidate := sizing.measure(dim=width):
                yield candidate


def _has_hidden_width(settings: Settings) -> bool:
    """Whether the channel mixer of the settings has a hidden width, and some layer has no other."""
    channel = find_channel_mixer(settings.channel_mixer_call.name, get_registry())
    has = any(option.name == "hidden" for option in channel.options)
    return has and any(layer.channel is None for layer in settings.pattern.layers(settings.layers))


def _tuned(sizing: Sizing, candidate: Candidate) -> Candidate:
    """The same width with the hidden width that comes nearest: all that is matched grows with it in a straight line."""
    if candidate.miss <= LIMITS[sizing.quantity] / 4:
        return candidate  # its own hidden width is a multiple of 16, which matrix units like
    width, name = candidate.settings.dim, candidate.settings.channel_mixer_call.name

    def with_hidden(hidden: int) -> Candidate | None:
        return sizing.measure(dim=width, channel_mixer=str(Call(name, (("hidden", hidden),))))

    few, more = with_hidden(16), with_hidden(32)
    if few is None or more is None or more.ratio <= few.ratio:
        return candidate
    wanted = max(round(16 + 16 * (1 - few.ratio) / (more.ratio - few.ratio)), 1)
    tuned = with_hidden(wanted) if wanted <= _MAX_HIDDEN_RATIO * width else None
    return min(candidate, tuned or candidate, key=_by_miss)
