"""``zoo info``: one member in full."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.files import with_file_names
from zoo.cli.output import plain_table, print_json, print_page
from zoo.cli.page import figures, flowing, head, sources
from zoo.train.shell import quote

if TYPE_CHECKING:
    from rich.console import RenderableType


def info(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="With options if any: 'correlation(max_lag=5)'; KIND:NAME, or a preset."),
    ],
    dim: Annotated[int, typer.Option(help="Model width at which parameters and state are counted.", metavar="N")] = 128,
    heads: Annotated[int, typer.Option(help="Heads, where NAME sets none.", metavar="N")] = 4,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Describe a mixer or other member: equation, options, cost."""
    from zoo.describe.members import describe_member, find_member, is_member
    from zoo.describe.mixers import describe_mixer
    from zoo.describe.presets import describe_preset, is_preset
    from zoo.describe.tasks import describe_data
    from zoo.errors import UsageError
    from zoo.plugin.kinds import MIXER, TASK
    from zoo.plugin.pattern import Call, parse_call
    from zoo.plugin.registry import get_registry

    for flag, value in {"--dim": dim, "--heads": heads}.items():
        if value < 1:
            raise UsageError(f"{flag} {value} should be 1 or more")
    call, registry = parse_call(with_file_names(name)), get_registry()
    entry = None if is_preset(call) and not is_member(call, registry) else find_member(call, registry)
    if entry is None:
        _print_preset(describe_preset(call), json=json)
        return
    plain = Call(registry[entry.kind].display_name(entry), call.options)
    if entry.kind == MIXER:
        described = describe_mixer(plain, dim=dim, heads=heads, registry=registry)
    elif entry.kind == TASK:
        described = describe_data(str(plain))
    else:
        described = describe_member(plain, entry, registry)
    if json:
        print_json(described)
    else:
        print_page(_page(described))


def _page(member: dict[str, Any]) -> Iterator["RenderableType"]:
    yield from head(member)
    rows = {"mixer": _figures, "hybrid": _layers}.get(member["kind"], sources)
    yield figures({"use": _use(member), **rows(member)})


def _print_preset(preset: dict[str, Any], *, json: bool) -> None:
    from rich.text import Text

    if json:
        print_json(preset)
        return
    rows = [(each["name"], str(each["value"]), each["meaning"]) for each in preset["settings"]]
    use = {"use": f"zoo train --preset {preset['name']}; all settings: zoo train --preset {preset['name']} --dry-run"}
    title = Text.assemble((preset["name"], "bold"), f"\n{preset['summary']}")
    print_page([title, plain_table(("setting", "value", "meaning"), rows), figures(use)])


def _use(member: dict[str, Any]) -> str:
    """The command line that takes it."""
    command = _USES.get(member["kind"], "").replace("{}", quote(member["call"]))
    return command if member.get("causal", True) else f"{command} --objective masked"


_USES = {
    "mixer": "zoo train --mixer {}",
    "hybrid": "zoo train --mixer {}",
    "channel-mixer": "zoo train --channel-mixer {}",
    "residual": "zoo train --residual {}",
    "task": "zoo train --data {}; an example: zoo tasks {}",
    "corpus": "zoo train --data {}",
    "tokenizer": "zoo train --tokenizer {}",
    "optimizer": "zoo train --optimizer {}",
    "executor": "zoo compare … --on {}",
    "reporter": "zoo train --report {}",
}
"""By kind, with a place for the call."""


def _layers(hybrid: dict[str, Any]) -> dict[str, str]:
    published = f"{hybrid['layers']} as published" if hybrid["layers"] else "as many as wanted"
    layers = f"{published}, {hybrid['reduced']} without --layers where the preset has fewer"
    return {"pattern": hybrid["pattern"], "layers": layers, **sources(hybrid)}


def _figures(mixer: dict[str, Any]) -> dict[str, str]:
    at = f"at dim={mixer['dim']}" + (f", heads={mixer['heads']}" if mixer["heads"] is not None else "")
    active = mixer["active_parameters"]
    used = f", of which a token uses {active:,}" if active != mixer["parameters"] else ""
    return {
        "parameters": f"{mixer['parameters']:,}{used}, {at}",
        "state": _state(mixer["state"]),
        "measured": _measured(mixer),
        "cost": flowing(mixer["cost"]),
        **sources(mixer),
    }


def _state(sizes: dict[int, int] | None) -> str:
    if sizes is None:
        return "none: it is not causal, so it cannot stream"
    lengths = " / ".join(f"{length:,}" for length in sizes)
    if len(set(sizes.values())) == 1:
        return f"{next(iter(sizes.values())):,} numbers a sequence after {lengths} tokens: it does not grow"
    return f"{' / '.join(f'{size:,}' for size in sizes.values())} numbers a sequence after {lengths} tokens"


def _measured(mixer: dict[str, Any]) -> str:
    traits = mixer["traits"]
    causal = "causal" if traits["causal"] else "sees the future"
    if traits["causal"] != mixer["causal"]:
        causal += f", and says causal = {mixer['causal']}"
    short, long = traits["lengths"]
    parts = [f"forward grows as t^{traits['forward_exponent']:.1f}"]
    if traits["step_exponent"] is not None:
        parts.append(f"the time for one more token as t^{max(0.0, traits['step_exponent']):.1f}")
        parts.append(f"the state as t^{traits['state_exponent']:.1f}")
    return f"{causal}; from {short:,} to {long:,} tokens {', '.join(parts)}"
