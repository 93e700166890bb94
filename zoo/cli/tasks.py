"""``zoo tasks``: what there is to learn from, and one task in full, with an example."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.list import tell_broken
from zoo.cli.output import print_json, print_page, print_table, printable, say
from zoo.cli.page import figures, head, sources
from zoo.train.shell import quote

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

SCORED, LEARNED, OTHER = "bold cyan", "yellow", "dim"
"""How the positions of an example are drawn: their target counts, is learned only, or there is none."""

SETTINGS = (
    "layers",
    "dim",
    "heads",
    "channel_mixer",
    "batch",
    "steps",
    "lr",
    "weight_decay",
    "stop_accuracy",
)
"""The settings that a page shows."""


def tasks(
    name: Annotated[
        str,
        typer.Argument(metavar="[NAME or GLOB]", help="A task, with options if any: 'mqar(pairs=8)'; or '*recall'."),
    ] = "*",
    seed: Annotated[int, typer.Option(metavar="N", help="Another one draws another example.")] = 0,
    suite: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only tasks of a suite: recall, state, depth, …")
    ] = None,
    length: Annotated[
        int | None, typer.Option(metavar="N", show_default="of the task", help="Tokens of the example.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the tasks and texts, or describe a task.

    With a name it is described in full: how it is made, its options, the settings of a run, and an example.
    With a name that has one of *?[ in it, those that match are listed; with --suite, the tasks of a suite. Example:

    zoo tasks 'mqar(pairs=2, length=16)' --seed 1
    """
    from zoo.describe.tasks import describe_data, is_glob
    from zoo.errors import UsageError
    from zoo.plugin.registry import get_registry

    for flag, value, least in (("--seed", seed, 0), ("--length", length, 1)):
        if value is not None and value < least:
            raise UsageError(f"{flag} {value} should be {least} or more")
    if is_glob(name) or get_registry().suite(name):
        _list(name, suite=suite, json=json)
        return
    if suite is not None:
        raise UsageError(f"--suite {suite} chooses from a list, and {name} is one task; leave one of them out")
    described = describe_data(name, seed=seed, length=length)
    if json:
        print_json(described)
    elif described["kind"] == "text":
        print(f"{described['name']} is a text: {described['summary']}")
        say(f"train on it with: zoo train --data {described['name']}")
    else:
        print_page(_page(described))


def _list(glob: str, *, suite: str | None, json: bool) -> None:
    from zoo.describe.tasks import list_data
    from zoo.plugin.registry import get_registry

    registry = get_registry()
    listed = list_data(registry, glob, suite=suite)
    tell_broken(registry)
    if json:
        print_json(listed)
    elif not listed:
        say(f"no task and no text matches {glob!r}; see all with: zoo tasks")
    else:
        print_table(("name", "kind", "summary", "suites", "paper", "from"), [_row(data) for data in listed])
        say(
            "one in full: zoo tasks NAME; --data takes any of them, and the path of a UTF-8 text or of a folder of them"
        )


def _row(data: dict[str, Any]) -> tuple["str | Text", ...]:
    from rich.text import Text

    columns = (data["kind"], data["summary"], ", ".join(data["suites"]), data["paper"])
    return Text(data["name"], style="bold"), *columns, data["origin"]["distribution"]


def _page(task: dict[str, Any]) -> Iterator["RenderableType"]:
    from rich.text import Text

    example = task["example"]
    yield from head(task)
    yield figures(_figures(task) | sources(task))
    yield Text(f"an example of the test, {example['length']:,} tokens, --seed {example['seed']}", style="dim")
    yield _drawn(example)
    yield _legend(example)


def _figures(task: dict[str, Any]) -> dict[str, str]:
    fresh = "drawn anew for every step" if task["train_examples"] is None else f"{task['train_examples']:,}, in turn"
    others = ", ".join(f"{length:,}" for length in task["test_lengths"])
    apart = "no sequence of them is trained on" if task["disjoint"] else "of what was trained on"
    return {
        "also called": ", ".join(task["aliases"]),
        "suites": ", ".join(task["suites"]),
        "vocabulary": f"{task['vocab_size']:,} tokens",
        "length": f"{task['length']:,} tokens" + (f"; also tested at {others}" if others else ""),
        "training": f"examples: {fresh}",
        "test": f"{task['test_examples']:,} examples at each length: {apart}",
        "chance": _levels(task["chance"], task["test_lengths"]),
        "solved": "" if task["solved"] is None else f"from an accuracy of {task['solved']:.1%} on",
        "slices": ", ".join(f"by {name}" for name in task["example"]["slices"]),
        "settings": f"{_settings(task)}; all: zoo train --data {quote(task['call'])} --dry-run",
    }


def _levels(chance: dict[str, dict[str, float]], others: list[int]) -> str:
    """What guessing gives at the training length, and where it is something else at the others."""
    first, *longer = chance["length"].items()
    text = f"guessing gives {first[1]:.1%}"
    return text + (f"; {', '.join(f'{level:.1%} at {int(length):,}' for length, level in longer)}" if others else "")


def _settings(task: dict[str, Any]) -> str:
    """What a run starts from: first what the task itself asks for, then the most of the rest."""
    own = task["own_settings"]
    rest = {name: task["settings"][name] for name in SETTINGS if name not in own}
    groups = [", ".join(f"{name}={value}" for name, value in group.items()) for group in (own, rest)]
    return f"{groups[0]}, as the task asks; {groups[1]}" if own else groups[1]


def _drawn(example: dict[str, Any]) -> "Text":
    """The symbols of the example, with an arrow to each target that counts."""
    from rich.text import Text

    words = []
    for symbol, target, style in zip(example["symbols"], example["target_symbols"], _styles(example), strict=True):
        words.append(Text(printable(f"{symbol}→{target}" if style == SCORED else symbol), style=style))
    return Text(" ").join(words)


def _legend(example: dict[str, Any]) -> "Text":
    """What the colours mean, and how many positions have each."""
    from rich.text import Text

    styles = _styles(example)
    words = {
        SCORED: ("a→b", "at a the target is b, scored"),
        LEARNED: ("a", "has a target, learned and not scored"),
        OTHER: ("a", "has no target"),
    }
    parts = [
        Text.assemble((sign, style), f" {meaning} ({styles.count(style)})")
        for style, (sign, meaning) in words.items()
        if style in styles
    ]
    return Text("; ").join(parts)


def _styles(example: dict[str, Any]) -> list[str]:
    return [
        SCORED if counts else OTHER if target is None else LEARNED
        for counts, target in zip(example["scored"], example["target_symbols"], strict=True)
    ]
