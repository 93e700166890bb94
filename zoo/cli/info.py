"""``zoo info``: one member in full."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.files import with_file_names
from zoo.cli.output import print_json, print_page
from zoo.cli.page import figures, flowing, head, sources

if TYPE_CHECKING:
    from rich.console import RenderableType


def info(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="With options if any: 'correlation(max_lag=5)'; or KIND:NAME."),
    ],
    dim: Annotated[int, typer.Option(help="Model width at which parameters and state are counted.", metavar="N")] = 128,
    heads: Annotated[int, typer.Option(help="Heads, where NAME sets none.", metavar="N")] = 4,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Describe a mixer or other member: equation, options, size, cost."""
    from zoo.describe.members import describe_member, find_member
    from zoo.describe.mixers import describe_mixer
    from zoo.describe.tasks import describe_data
    from zoo.errors import UsageError
    from zoo.plugin.kinds import MIXER, TASK
    from zoo.plugin.pattern import Call, parse_call
    from zoo.plugin.registry import get_registry

    for flag, value in {"--dim": dim, "--heads": heads}.items():
        if value < 1:
            raise UsageError(f"{flag} {value} should be 1 or more")
    call, registry = parse_call(with_file_names(name)), get_registry()
    entry = find_member(call, registry)
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
    yield figures(rows(member))


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
