"""``zoo info``: one mixer in full."""

from typing import Annotated, Any

import typer

from zoo.cli.output import plain_table, print_json, stdout


def info(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A mixer, with options if any: 'correlation(max_lag=5)'.")
    ],
    dim: Annotated[int, typer.Option(help="Model width at which parameters and state are counted.", metavar="N")] = 128,
    heads: Annotated[int, typer.Option(help="Heads, where NAME sets none.", metavar="N")] = 4,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell all about a mixer: equation, options, size, cost, source."""
    from zoo.describe import describe_mixer
    from zoo.errors import UsageError
    from zoo.pattern import parse_call
    from zoo.registry import get_registry

    for flag, value in {"--dim": dim, "--heads": heads}.items():
        if value < 1:
            raise UsageError(f"{flag} {value} should be 1 or more")
    described = describe_mixer(parse_call(name), dim=dim, heads=heads, registry=get_registry())
    if json:
        print_json(described)
    else:
        _print(described)


def _print(mixer: dict[str, Any]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    console = stdout()
    console.print(Text(mixer["call"], style="bold"))
    console.print(mixer["summary"])
    for part, style in (("equation", "cyan"), ("text", "")):
        if mixer[part]:
            text = Text(mixer[part] if style else _flowing(mixer[part]), style=style)
            console.print(Padding(text, (1, 0, 0, 4 if style else 0)))
    if mixer["options"]:
        options = plain_table(("option", "type", "default", "meaning"))
        for option in mixer["options"]:
            options.add_row(Text(option["name"], style="bold"), option["type"], _default(option), option["meaning"])
        console.print(Padding(options, (1, 0, 0, 0)))
    console.print(Padding(_figures(mixer), (1, 0, 0, 0)))


def _figures(mixer: dict[str, Any]) -> Any:
    from rich.text import Text

    at = f"at dim={mixer['dim']}" + (f", heads={mixer['heads']}" if mixer["heads"] is not None else "")
    parameters = f"{mixer['parameters']:,} {at}"
    if mixer["active_parameters"] != mixer["parameters"]:
        parameters += f", of which a token uses {mixer['active_parameters']:,}"
    origin = mixer["origin"]
    rows = {
        "parameters": parameters,
        "state": _state(mixer["state"]),
        "cost": _flowing(mixer["cost"]),
        "errors": _flowing(mixer["errors"]),
        "source": _flowing(mixer["source"]),
        "paper": mixer["paper"],
        "origin": f"{origin['distribution']} {origin['version']}, entry point {origin['entry_point']!r}",
        "file": origin["file"] or "",
    }
    table = plain_table()
    for label, text in rows.items():
        if text:
            table.add_row(Text(label, style="dim"), text)
    return table


def _state(sizes: dict[int, int] | None) -> str:
    if sizes is None:
        return "none: it is not causal, so it cannot stream"
    told = [f"{size:,} after {length:,}" for length, size in sizes.items()]
    return f"{', '.join(told)} tokens (numbers a sequence)"


def _default(option: dict[str, Any]) -> str:
    if option["required"]:
        return "required"
    if option["default"] is None and option["name"] in ("heads", "layer_index", "layers"):
        return "from the model"
    return str(option["default"])


def _flowing(text: str) -> str:
    """Paragraphs without the line ends of the source; what is indented stays as it is."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(p if "\n " in f"\n{p}" else " ".join(p.split()) for p in paragraphs)
