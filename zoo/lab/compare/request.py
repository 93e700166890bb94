"""What is to be compared, as the user asked for it."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias, cast, get_args

from zoo.data.load import task_call
from zoo.data.source import Metric
from zoo.errors import UsageError
from zoo.lab.compare.executors import DEFAULT, create_executor
from zoo.plugin.options import did_you_mean
from zoo.plugin.pattern import parse
from zoo.plugin.registry import get_registry
from zoo.train.resolve import read_assignments
from zoo.train.settings import seconds
from zoo.train.shell import join

Match: TypeAlias = Literal["none", "params", "flops", "state"]

MAX_PATTERNS = 64
MAX_SEEDS = 1000
MAX_STEPS = 10**9
MAX_JOBS = 256

NOISE_SEEDS, NOISE_SEEDS_LEAST = 20, 5
"""Seeds of a noise floor: what it takes where nothing is said, and the fewest whose spread is worth telling."""

# What the command line has a word of its own for, or what belongs to the comparison and not to a run.
_NOT_FOR_RUNS = {
    "mixer": "the patterns are the arguments",
    "data": "write `data`",
    "seed": "write `seeds`",
    "lr": "write `lrs`",
    "steps": "write `budget`=steps:…",
    "max_time": "write `budget`=seconds:…",
}


class Budget(NamedTuple):
    """How long each run is trained: so many steps, seconds of training, or floating-point operations."""

    kind: Literal["steps", "seconds", "flops"]
    amount: float

    def __str__(self) -> str:
        return f"{self.kind}:{_exact(self.amount)}" if self.kind != "steps" else f"steps:{self.amount:.0f}"


@dataclass(frozen=True)
class Request:
    """A comparison to make.

    Attributes:
        patterns: of token mixers, in canonical form; the first one is what the others are made as big as.
        data: texts and tasks.
        tier: where the settings start from.
        seeds: how many; None for those of the tier.
        lrs: learning rates to try; None for those of the tier.
        match: what is made equal.
        budget: None for the steps of the tier.
        settings: over those of the tier, by name.
        jobs: runs at a time; None for as many as the machine has cores, or for all where others make them.
        on: the executor that makes the runs, with its options.
        min_effects: by metric, the difference below which one is called small; the usual one where it is left out.
        solved: the accuracy from which on a task counts as solved; None for that of each task.
        noise_floor: measure how far seeds alone move the figures of one pattern.
    """

    patterns: tuple[str, ...]
    data: tuple[str, ...]
    tier: str
    seeds: int | None = None
    lrs: tuple[float, ...] | None = None
    match: Match = "none"
    budget: Budget | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    jobs: int | None = None
    min_effects: dict[Metric, float] = field(default_factory=dict)
    on: str = DEFAULT
    solved: float | None = None
    noise_floor: bool = False

    @property
    def command(self) -> str:
        """The command that makes this comparison again."""
        words = ["zoo", "compare", *self.patterns]
        for data in self.data:
            words += ["--data", data]
        words += ["--tier", self.tier]
        if self.seeds is not None:
            words += ["--seeds", str(self.seeds)]
        if self.lrs is not None:
            words += ["--lrs", ",".join(_exact(lr) for lr in self.lrs)]
        if self.match != "none":
            words += ["--match", self.match]
        if self.budget is not None:
            words += ["--budget", str(self.budget)]
        for name, value in self.settings.items():
            words += ["--set", _assignment(name, value)]
        if self.jobs is not None:
            words += ["--jobs", str(self.jobs)]
        if self.on != DEFAULT:
            words += ["--on", self.on]
        for metric, least in sorted(self.min_effects.items()):
            words += ["--min-effect", f"{_exact(100 * least)}%" if metric == "accuracy" else _exact(least)]
        if self.solved is not None:
            words += ["--solved", _exact(self.solved)]
        if self.noise_floor:
            words += ["--noise-floor"]
        return join(words)


def check_request(request: Request) -> None:
    """Refuse what cannot be compared, before anything is built.

    Raises:
        UsageError: with what would do.
    """
    if not request.patterns:
        raise UsageError(
            "there is nothing to compare: name one pattern or more, e.g. zoo compare correlation dot-product"
        )
    if len(request.patterns) > MAX_PATTERNS:
        raise UsageError(
            f"{len(request.patterns)} patterns are too many for one comparison; take {MAX_PATTERNS} or fewer"
        )
    for what, names in {"pattern": request.patterns, "data": request.data}.items():
        double = [name for index, name in enumerate(names) if name in names[:index]]
        if double:
            raise UsageError(f"the {what} {double[0]!r} is named twice; name it once")
    if request.seeds is not None and not 1 <= request.seeds <= MAX_SEEDS:
        raise UsageError(f"`seeds`={request.seeds} should be from 1 to {MAX_SEEDS}")
    if request.jobs is not None and not 1 <= request.jobs <= MAX_JOBS:
        raise UsageError(f"`jobs`={request.jobs} should be from 1 to {MAX_JOBS}")
    for name in request.settings:
        if name in _NOT_FOR_RUNS:
            raise UsageError(f"the setting {name} is not for a comparison: {_NOT_FOR_RUNS[name]}")
    _check_place(request)
    _check_figures(request)


def _check_figures(request: Request) -> None:
    """Refuse a threshold where nothing can be solved, and a noise floor that could not be measured."""
    if request.solved is not None and not any(task_call(data) for data in request.data):
        raise UsageError(
            f"`solved` is an accuracy of a task, and there is none among the data: {', '.join(request.data)}"
        )
    if request.noise_floor and len(request.patterns) != 1:
        raise UsageError(
            f"`noise_floor` is measured on one pattern, and there are {len(request.patterns)}: name one of them"
        )
    if request.noise_floor and request.seeds is not None and request.seeds < NOISE_SEEDS_LEAST:
        raise UsageError(
            f"`seeds`={request.seeds} are too few for `noise_floor`, which takes {NOISE_SEEDS_LEAST} or more"
        )


def _check_place(request: Request) -> None:
    """Refuse what the executor makes no sense of: threads are shared here, and seconds are measured here."""
    local = create_executor(request.on, jobs=request.jobs or 1).local
    if local and "threads" in request.settings:
        raise UsageError("the setting threads is not for a comparison: write `jobs`, among which the cores are shared")
    if not local and request.budget is not None and request.budget.kind == "seconds":
        raise UsageError(
            "a budget of seconds is measured on this machine, and the runs are made on others: write "
            "`budget`=steps:… or flops:…"
        )


def read_match(text: str) -> Match:
    """What is made equal: none, params, flops or state."""
    if text not in get_args(Match):
        raise UsageError(
            f"`match`={text!r} should be one of {', '.join(get_args(Match))}{did_you_mean(text, get_args(Match))}"
        )
    return cast(Match, text)


def read_budget(text: str) -> Budget:
    """A budget as ``steps:2000``, ``seconds:90`` (or ``seconds:2m``) or ``flops:1e13``."""
    kind, _, amount = text.partition(":")
    try:
        value = seconds(amount) if kind == "seconds" else float(amount)
    except ValueError:
        value = math.nan
    most = MAX_STEPS if kind == "steps" else 1e30
    if kind not in ("steps", "seconds", "flops") or not 0 < value <= most or (kind == "steps" and value % 1):
        raise UsageError(f"`budget`={text!r} should read steps:2000, seconds:90 or flops:1e13")
    return Budget(cast(Any, kind), value)


def read_min_effects(texts: Sequence[str]) -> dict[Metric, float]:
    """Differences below which one is called small: ``1%`` of an accuracy, in points; ``0.01`` of a loss, in nats."""
    found: dict[Metric, float] = {}
    for text in texts:
        number, percent, rest = text.strip().partition("%")
        try:
            least = float(number) / (100 if percent else 1)
        except ValueError:
            least = math.nan
        if rest or not 0 <= least < math.inf:
            raise UsageError(f"`min_effect`={text!r} should read 1% (points of accuracy) or 0.01 (nats of loss)")
        found["accuracy" if percent else "loss"] = least
    return found


def read_solved(text: str) -> float:
    """The accuracy from which on a task is solved, as ``99%`` or ``0.99``."""
    number, percent, rest = text.strip().partition("%")
    try:
        threshold = float(number) / (100 if percent else 1)
    except ValueError:
        threshold = math.nan
    if rest or not 0 < threshold <= 1:
        raise UsageError(f"`solved`={text!r} should be an accuracy above 0 and up to 1: 99% or 0.99")
    return threshold


def read_lrs(text: str) -> tuple[float, ...]:
    """Learning rates with commas, each once, from the lowest to the highest."""
    try:
        rates = {float(part) for part in text.split(",")}
    except ValueError:
        rates = {math.nan}
    if not all(0 < rate < math.inf for rate in rates):
        raise UsageError(f"`lrs`={text!r} should be numbers above 0 with commas, e.g. 1e-3,3e-3")
    return tuple(sorted(rates))


def read_patterns(texts: Sequence[str]) -> tuple[str, ...]:
    """Patterns in canonical form.

    Raises:
        PatternError: one that cannot be read; one that cannot be built is reported later, beside the results of the
            others.
    """
    return tuple(str(parse(text)) for text in texts)


def read_data(names: Sequence[str]) -> tuple[str, ...]:
    """Texts, and tasks in canonical form; the name of a suite is replaced by all of its tasks.

    Raises:
        UsageError: a task that cannot be read.
    """
    chosen: list[str] = []
    for name in names:
        suite = get_registry().suite(name)
        call = None if suite else task_call(name)
        chosen += suite or [name if call is None else str(call)]
    return tuple(chosen)


def _exact(number: float) -> str:
    """A number that reads back as it was."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def _assignment(name: str, value: Any) -> str:
    """A setting as ``--set`` reads it back."""
    text = "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    assignment = f"{name}={text}"
    if value is None or read_assignments([assignment]) == {name: value}:
        return assignment
    return f"{name}={json.dumps(value, ensure_ascii=False)}"
