"""Makes docs/results.md from the results that lie beside this file.

    python docs/results/build.py            write the page
    python docs/results/build.py --check    say whether it is what the results give; exit code 1 if not

A folder holds what a command left: results.json and environment.json of `zoo compare`, bench.json of `zoo bench`, the
summary.json of a run, or what tests/benchmarks/against_peers.py wrote. The text around the figures is results.md.j2.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping
from typing import Any

from comparisons import HERE, by_slice, comparison, noise_floor, overview, published_gaps, read, solvers, table
from jinja2 import Environment, StrictUndefined

PAGE = HERE.parent / "results.md"


def render() -> str:
    """The page as the results give it."""
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    template = environment.from_string((HERE / "results.md.j2").read_text(encoding="utf-8"))
    compared = (comparison, overview, by_slice, solvers, noise_floor, published_gaps)
    costs = (bench, ratios, contention, peers, mixture)
    others = (identical_arms, different_arms, residuals, optimizers, summaries)
    called = (*compared, *costs, *others, command, made_with, read)
    return template.render({function.__name__: function for function in called})


def command(folder: str, name: str = "results.json") -> str:
    """The command that makes it again, in a code block."""
    return f"```\n{read(folder, name)['command']}\n```"


def made_with(folder: str, name: str = "environment.json") -> str:
    """Machine and versions, in a line."""
    saved = read(folder, name)
    saved = saved.get("environment", saved)
    versions = f"Python {saved['python']}, torch {saved['torch']}, zoo {saved['zoo']}"
    device = saved.get("device", "cpu")
    where = f"{device.removeprefix('cuda: ')}, " if device.startswith("cuda") else ""
    return f"{where}{saved['cpu']['name']}, {saved['cpu']['cores']} cores; {versions}"


def bench(folder: str, kind: str) -> str:
    """One kind of cost of a bench, ``forward``, ``train``, ``decode`` or ``memory``, by length, and how it grows.

    That is told by its exponents, or, of lengths too few for them, by the last cost over the first.
    """
    saved = read(folder, "bench.json")
    lengths = saved["request"]["lengths"]
    cells = {(c["candidate"], c["length"]): c for c in saved["cells"] if c["what"] == kind}
    names = ["exponent", "upper half"]
    rows = []
    for candidate in saved["candidates"]:
        name, growth = candidate["name"], candidate["growth"][kind]
        found = [cells[name, length] for length in lengths if (name, length) in cells]
        if growth["exponent"] is None:
            names = ["last / first"]
            tells = [f"{found[-1]['median_seconds'] / found[0]['median_seconds']:.2f}"]
        else:
            tells = [f"{growth[which]:.2f}".replace("-0.00", "0.00") for which in ("exponent", "upper")]
        rows.append([f"`{name}`", *(_cost(cell, kind) for cell in found), *tells])
    unit = "MiB" if kind == "memory" else "ms"
    return table([unit, *(f"{length:,}" for length in lengths), *names], rows)


def identical_arms(folder: str) -> str:
    """How often one of two identical arms is called better, by their accuracy: the worst of all kinds of arms."""
    found = read(folder, "simulation.json")["identical"]
    names = _seed_counts(found)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in found:
        kind = f"{row['accuracy']:.0%}" if "accuracy" in row else "learned by luck"
        groups.setdefault(kind, []).append(row)
    rows = [[kind, *(f"{max(row[name] for row in some):.1%}" for name in names)] for kind, some in groups.items()]
    return table(["accuracy of both arms", *names], rows)


def different_arms(folder: str) -> str:
    """How often the better one of two arms is called better, by accuracy and by the spread of their seeds."""
    found = read(folder, "simulation.json")["different"]
    names = _seed_counts(found)
    rows = [
        [f"{row['accuracy']:.0%}", f"{100 * row['seen']:.1f}", *(f"{row[name]:.0%}" for name in names)] for row in found
    ]
    return table(["accuracy of the worse arm", "standard deviation over seeds (points)", *names], rows)


def _seed_counts(found: list[Mapping[str, Any]]) -> list[str]:
    return [name for name in found[0] if name.endswith(" seeds")]


def contention(folder: str) -> str:
    """Seconds of training on a quiet and on a busy machine, by how threads wait, and ratios to torch's own way."""
    found = read(folder, "contention.json")
    quiet = found["median"]["quiet"]["spinning (torch's default)"]
    rows = [
        [way, *(cell for load in ("quiet", "busy") for cell in _seconds(found["seconds"][load][way], quiet))]
        for way in found["seconds"]["quiet"]
    ]
    return table(["threads", "quiet (s)", "ratio", "busy (s)", "ratio"], rows)


def _seconds(measured: list[float], unit: float) -> list[str]:
    """What was measured, and its median over a unit."""
    return [", ".join(f"{seconds:.1f}" for seconds in sorted(measured)), f"{statistics.median(measured) / unit:.2f}"]


def residuals(folder: str) -> str:
    """The loss of each residual scheme with each mixer."""
    losses = read(folder, "residuals.json")["losses"]
    mixers = list(next(iter(losses.values())))
    rows = [[f"`{scheme}`", *(f"{row[mixer]:.3f}" for mixer in mixers)] for scheme, row in losses.items()]
    return table(["scheme", *(f"`{mixer}`" for mixer in mixers)], rows)


def optimizers(folder: str) -> str:
    """What each learning rate gave, and the loss and the steps of each seed at the best one."""
    found = read(folder, "optimizers.json")
    rows = []
    for name, one in found["results"].items():
        tried = ", ".join(f"{float(lr):g}: {loss:.3f}" for lr, loss in one["tried"].items())
        ends = ", ".join(f"{curve[str(found['steps'])]:.3f}" for curve in one["curves"].values())
        steps = ", ".join("not reached" if step is None else f"{step:,}" for step in one["steps"].values())
        rows.append([f"`{name}`", tried, f"{one['lr']:g}", ends, steps])
    return table(["optimizer", "loss by learning rate", "best", "loss of each seed", "steps"], rows)


def ratios(folder: str, kind: str, to: str) -> str:
    """One kind of time of a bench at one length, as ratios to one candidate, and the parameters."""
    saved = read(folder, "bench.json")
    cells = {cell["candidate"]: cell for cell in saved["cells"] if cell["what"] == kind}
    rows = [
        [
            f"`{one['name']}`",
            _cost(cells[one["name"]], kind),
            f"{cells[one['name']]['median_seconds'] / cells[to]['median_seconds']:.2f}",
            f"{one['parameters']:,}",
            f"{one['active_parameters']:,}",
        ]
        for one in saved["candidates"]
    ]
    return table(["mixer", "ms", "ratio", "parameters", "active"], rows)


def peers(folder: str, name: str) -> str:
    """What tests/benchmarks/against_peers.py measured of each candidate: its time, and that of the first over it."""
    runs = read(folder, f"{name}.json")["seconds"]
    first = next(iter(runs[0]))
    rows = []
    for candidate in runs[0]:
        milliseconds = 1000 * statistics.median(run[candidate] for run in runs)
        ratios = ", ".join(f"{run[first] / run[candidate]:.2f}" for run in runs)
        rows.append([f"`{candidate}`", f"{milliseconds:,.1f}", ratios])
    return table(["", "ms", f"times as fast as `{first}`, by run"], rows)


def mixture(folder: str) -> str:
    """What tests/benchmarks/mixture.py measured at each size: the times, and the mixture's over the dense one's."""
    rows = []
    for size in read(folder, "mixture.json")["sizes"]:
        runs = size["seconds"]
        times = [f"{1000 * statistics.median(run[name] for run in runs):,.1f}" for name in ("dense", "mixture")]
        ratios = ", ".join(f"{run['mixture'] / run['dense']:.2f}" for run in runs)
        shape = f"{size['dim']} wide, {size['heads']} heads, {size['context']:,} tokens, batch {size['batch']}"
        rows.append([shape, size["precision"], *times, ratios])
    return table(["size", "precision", "dense (ms)", "mixture (ms)", "ratio, by run"], rows)


def summaries(folder: str) -> str:
    """What single runs ended with."""
    runs = [read(folder, path.name) for path in sorted((HERE / folder).glob("*.json"))]
    rows = [
        [f"`{run['mixer']}`", f"{run['parameters']:,}", f"{run['steps']:,}", f"{run['validation_loss']:.4f}"]
        for run in runs
    ]
    return table(["mixer", "parameters", "steps", "loss (nats)"], rows)


def _cost(cell: Mapping[str, Any], kind: str) -> str:
    if kind == "memory":
        return f"{cell['peak_bytes'] / 2**20:,.1f}"
    milliseconds = 1000 * cell["median_seconds"]
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the page is stale")
    page = render()
    if not parser.parse_args().check:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") == page:
        return 0
    print("docs/results.md is stale: run python docs/results/build.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
