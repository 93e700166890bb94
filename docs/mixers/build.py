"""Makes docs/mixers.md and docs/mixers/map.svg from the registered mixers: their docstrings, options and states.

    python docs/mixers/build.py            measure all mixers, write sizes.json, the page and the map
    python docs/mixers/build.py --check    measure all mixers; exit code 1 if one of the three is stale

What no docstring says is theory.toml; the text around it is mixers.md.j2, and map.svg.j2 draws the map.
"""

import argparse
import json
import re
import sys
import tomllib
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from torch import nn

from mixers import plugin
from zoo.describe.members import describe_member
from zoo.describe.mixers import measure_state
from zoo.model.members import create_channel_mixer, create_mixer
from zoo.model.parameters import count_active_parameters, count_parameters
from zoo.plugin.kinds import CHANNEL_MIXER, HYBRID, MIXER, Kind
from zoo.plugin.options import FILLED_BY_HOST
from zoo.plugin.pattern import Call, Pattern, Repeat, parse
from zoo.plugin.registry import Entry, get_registry

HERE = Path(__file__).parent
PAGE, MAP, SIZES = HERE.parent / "mixers.md", HERE / "map.svg", HERE / "sizes.json"
DISTRIBUTION = "mixer-zoo"
DIM, HEADS = 128, 4
BOX, GAP, LINE = 152, 86, 17
"""Widths and a line's height in the map, in pixels."""

Member = dict[str, Any]


def built_ins(kind: Kind) -> list[Entry[Any]]:
    """The registered members of a kind that come with this repository."""
    return [entry for entry in get_registry()[kind].entries if entry.origin.distribution == DISTRIBUTION]


def families() -> dict[str, list[str]]:
    """The names of the mixers by family, and those of the channel mixers."""
    found = {"first": list(plugin.FIRST)}
    found |= {package.__name__.rpartition(".")[2]: list(package.MIXERS) for package in plugin.FAMILIES}
    return found | {"channel": [entry.name for entry in built_ins(CHANNEL_MIXER)]}


def measure() -> dict[str, Any]:
    """Parameters, those that a token uses, and the numbers of the state by the tokens it has seen, of each mixer."""
    return {entry.name: _measure(entry) for kind in (MIXER, CHANNEL_MIXER) for entry in built_ins(kind)}


def _measure(entry: Entry[Any]) -> dict[str, Any]:
    call = Call(entry.name, ())
    if entry.kind == CHANNEL_MIXER:
        return _parameters(create_channel_mixer(call, dim=DIM)) | {"state": {}}
    mixer = create_mixer(call, dim=DIM, heads=HEADS, registry=get_registry()).eval()
    state = measure_state(mixer, entry, DIM)
    return _parameters(mixer) | {"state": {str(length): size for length, size in state.items()}}


def _parameters(module: nn.Module | None) -> dict[str, int]:
    module = module or nn.Identity()
    return {"parameters": count_parameters(module), "active_parameters": count_active_parameters(module)}


def render(sizes: dict[str, Any]) -> dict[Path, str]:
    """The page and the map, by their files, of mixers of these sizes."""
    theory = tomllib.loads((HERE / "theory.toml").read_text(encoding="utf-8"))
    found = families()
    if unknown := [name for name in found if name not in theory["families"]]:
        raise SystemExit(f"theory.toml says nothing of {', '.join(unknown)}: add [families.{unknown[0]}]")
    described = [_family(name, found[name], theory, sizes) for name in theory["families"]]
    _add_anchors(described)
    page = _template("mixers.md.j2").render(
        families=described, hybrids=_hybrids(), dim=DIM, heads=HEADS, count=sum(len(f["members"]) for f in described)
    )
    return {PAGE: page, MAP: _template("map.svg.j2").render(_layout(described, theory))}


def _template(name: str) -> Any:
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string((HERE / name).read_text(encoding="utf-8"))


def _family(name: str, members: list[str], theory: dict[str, Any], sizes: dict[str, Any]) -> dict[str, Any]:
    package = next((package for package in plugin.FAMILIES if package.__name__.endswith(f".{name}")), None)
    summary = {"summary": " ".join((package.__doc__ or "").split())} if package else {}
    kind = CHANNEL_MIXER if name == "channel" else MIXER
    described = [_member(kind, member, theory, sizes[member]) for member in members]
    known = theory["families"][name]
    learns = {part: _prose(known[part]) for part in ("recall", "tracking")}
    return {"name": name, **summary, **known, **learns, "members": described}


def _add_anchors(described: list[dict[str, Any]]) -> None:
    """What links to each heading: its words, and a number where an earlier heading has the same."""
    seen: Counter[str] = Counter()
    for family in described:
        for part, title in [(family, family["title"]), *((member, member["name"]) for member in family["members"])]:
            plain = title.lower().replace(" ", "-")
            part["anchor"] = plain + (f"-{seen[plain]}" if seen[plain] else "")
            seen[plain] += 1


def _member(kind: Kind, name: str, theory: dict[str, Any], sizes: dict[str, Any]) -> Member:
    member = describe_member(Call(name, ()), get_registry()[kind].find(name), get_registry())
    return {
        **member,
        "options": [_option(option) for option in member["options"]],
        "summary": _prose(member["summary"]),
        "text": _prose(member["text"].strip()),
        "cost": _prose(" ".join(member["cost"].split())),
        "source": _prose(" ".join((member["source"] or member["paper"]).split())),
        "parameters": _format_parameters(sizes),
        "state": _format_state(sizes["state"]),
        "numbers": list(sizes["state"].values())[-1:],
        "learns": _prose(theory["mixers"].get(name, "")),
        "mark": _mark(name, member, theory),
    }


def _option(option: Member) -> dict[str, str]:
    default = option["default"]
    written = "none" if default is None else json.dumps(default)
    if option["name"] in FILLED_BY_HOST:
        written += ", or the host's"
    return {"name": option["name"], "default": written, "meaning": _prose(option["meaning"]).replace("|", r"\|")}


def _format_parameters(sizes: dict[str, Any]) -> str:
    used = sizes["active_parameters"]
    return f"{sizes['parameters']:,}" + (f", of which a token uses {used:,}" if used != sizes["parameters"] else "")


def _format_state(numbers: dict[str, int]) -> str:
    if not numbers:
        return ""
    length, last = list(numbers.items())[-1]
    if len(set(numbers.values())) == 1:
        return f"{last:,} numbers at any length"
    return f"{last:,} numbers at t = {int(length):,}, {numbers['1']:,} at t = 1"


def _mark(name: str, member: Member, theory: dict[str, Any]) -> str:
    """Whether it tracks state: always or by default "●", as an option "○", else nothing."""
    negative = [option["default"] for option in member["options"] if option["name"] == "negative"]
    if name in theory["tracks_state"] or negative == [True]:
        return "●"
    return "○" if negative else ""


def _prose(text: str) -> str:
    """The text as Markdown: what would be markup outside of code is escaped, and papers are linked."""
    text = re.sub(r"(``.*?``|`[^`]*`)|([*<])", lambda found: found[1] or f"\\{found[2]}", text, flags=re.DOTALL)
    return re.sub(r"arXiv:(\d{4}\.\d{5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def _hybrids() -> list[dict[str, Any]]:
    return [
        {
            "name": entry.name,
            "depth": entry.cls.depth or "any",
            "pattern": _shortened(entry.cls().pattern(entry.cls.depth or entry.cls.reduced)),
            "paper": _prose(entry.paper),
        }
        for entry in sorted(built_ins(HYBRID), key=lambda entry: entry.name)
    ]


def _shortened(pattern: str) -> str:
    """The pattern with ``layer, layer`` written as ``layer*2``, where it was written without any repeats."""
    items = parse(pattern).items
    if any(isinstance(item, Repeat) for item in items):
        return pattern
    return str(Pattern(tuple(Repeat((layer,), len(list(same))) for layer, same in groupby(items))))


def _layout(described: list[dict[str, Any]], theory: dict[str, Any]) -> dict[str, Any]:
    """Boxes of the families in their columns and rows, and the arrows between them."""
    boxes = {family["name"]: _box(family) for family in described if "place" in family}
    tallest = [max(box["height"] for box in boxes.values() if box["row"] == row) for row in range(theory["rows"])]
    tops = [76 + sum(tallest[:row]) + 44 * row for row in range(theory["rows"] + 1)]
    for box in boxes.values():
        box["y"] = tops[box["row"]]
    return {
        "boxes": list(boxes.values()),
        "arrows": [_arrow(boxes[arrow["from"]], boxes[arrow["to"]], arrow["text"]) for arrow in theory["arrows"]],
        "bands": theory["bands"],
        "channel": next(family for family in described if family["name"] == "channel"),
        "width": 32 + (max(band["last"] for band in theory["bands"]) + 1) * (BOX + GAP) - GAP,
        "bottom": tops[-1] - 44,
        "box": BOX,
        "gap": GAP,
        "line": LINE,
        "dim": DIM,
    }


def _box(family: dict[str, Any]) -> dict[str, Any]:
    column, row = family["place"]
    numbers = [number for member in family["members"] for number in member["numbers"]]
    return {
        **family,
        "row": row,
        "x": 16 + column * (BOX + GAP),
        "height": 62 + LINE * len(family["members"]),
        "numbers": f"{min(numbers):,} to {max(numbers):,}",
    }


def _arrow(start: dict[str, Any], end: dict[str, Any], text: list[str]) -> dict[str, Any]:
    """From box to box, beside or below."""
    if start["row"] == end["row"]:
        forward = start["x"] < end["x"]
        x, to = (start["x"] + BOX + 6, end["x"] - 8) if forward else (start["x"] - 6, end["x"] + BOX + 8)
        y = start["y"] + 40
        return {"x": x, "y": y, "to_x": to, "to_y": y, "text_x": (x + to) / 2, "text_y": y - 8, "text": text}
    x, y, to = start["x"] + 24, start["y"] + start["height"] + 6, end["y"] - 8
    return {"x": x, "y": y, "to_x": x, "to_y": to, "text_x": x + 10, "text_y": to - 4, "text": text}


def main() -> int:
    """Write the files, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a file is stale")
    sizes = measure()
    files = {SIZES: json.dumps(sizes, indent=1) + "\n", **render(sizes)}
    if not parser.parse_args().check:
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [path.name for path, text in files.items() if path.read_text(encoding="utf-8") != text]
    if not stale:
        return 0
    print(f"{', '.join(stale)}: stale, run python docs/mixers/build.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
