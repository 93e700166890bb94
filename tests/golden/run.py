"""Compare operators and layers with golden vectors: other people's outputs and gradients, in float64.

    python tests/golden/run.py FOLDER [PATTERN]

FOLDER holds an ``index.json`` with ``{"cases": [{"op": …, "case": …, …}]}`` and a file ``<op>-<case>.safetensors`` for
each, with the tensors ``in.*`` (arguments), ``out.*``, ``cot.*`` (cotangents) and ``grad.*``, the gradients of the sum
of the products of cotangents and outputs. PATTERN selects cases by name, e.g. ``'mamba*'``.

The files in ``adapters/`` know how an operator of `mixers.ops`, or a layer of `mixers`, takes the arguments of a case.
Each has ``ADAPTERS``, op → a function of the arguments by name, which returns the outputs by name. Where the cases of
one op compute different things, which no argument says, a longer name comes first: ``kda-gate-lower-bound`` takes the
case ``lower-bound`` of the op ``kda-gate``, and all whose names begin so. Arguments whose name begins with ``p.`` are
the parameters of a layer, and come in one dictionary `parameters`. ``TOLERANCES`` is for sources that compute in
float32 inside.
"""

import argparse
import fnmatch
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

HERE = Path(__file__).parent
OUTPUTS, GRADIENTS = 1e-9, 1e-8
"""The largest gap of outputs and of gradients, relative to the largest number of the tensor where that is above 1."""

Adapter = Callable[..., Mapping[str, Tensor]]


@dataclass(frozen=True)
class Outcome:
    """What became of one case; `problem` is None where it agrees."""

    op: str
    name: str
    output_gap: float = float("nan")
    gradient_gap: float = float("nan")
    problem: str | None = None
    known: bool = True


@cache
def adapters() -> tuple[dict[str, Adapter], dict[str, float]]:
    """The adapters of all files by op, and the tolerance of those that have their own."""
    by_op: dict[str, Adapter] = {}
    tolerances: dict[str, float] = {}
    for path in sorted((HERE / "adapters").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"golden_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        twice = by_op.keys() & module.ADAPTERS.keys()
        assert not twice, f"{path.name}: {sorted(twice)} have an adapter in another file"
        by_op.update(module.ADAPTERS)
        tolerances.update(getattr(module, "TOLERANCES", {}))
    return by_op, tolerances


def run(folder: Path, pattern: str = "*") -> Iterator[Outcome]:
    """Run the cases of a folder whose name, ``<op>-<case>``, matches the pattern."""
    by_op, tolerances = adapters()
    for case in json.loads((folder / "index.json").read_text())["cases"]:
        op, name = case["op"], f"{case['op']}-{case['case']}"
        if not fnmatch.fnmatchcase(name, pattern):
            continue
        fits = [key for key in by_op if name.startswith(key) and (key == op or key.startswith(f"{op}-"))]
        adapter = by_op[max(fits, key=len)] if fits else None
        if adapter is None:
            yield Outcome(op, name, problem="no adapter", known=False)
            continue
        try:
            outputs, gradients = _compare(adapter, load_file(folder / f"{name}.safetensors"))
        except Exception as error:  # one case that fails leaves the others their turn
            yield Outcome(op, name, problem=f"{type(error).__name__}: {error}".splitlines()[0])
            continue
        allowed = (tolerances.get(op, OUTPUTS), tolerances.get(op, GRADIENTS))
        agrees = outputs <= allowed[0] and gradients <= allowed[1]  # false for NaN too
        yield Outcome(op, name, outputs, gradients, None if agrees else f"more than {allowed[0]:g} / {allowed[1]:g}")


def _compare(adapter: Adapter, tensors: Mapping[str, Tensor]) -> tuple[float, float]:
    """The largest gap of the outputs, and of the gradients."""
    inputs = {name: tensor.clone() for name, tensor in _under("in.", tensors).items()}
    gradients, cotangents = _under("grad.", tensors), _under("cot.", tensors)
    for name in gradients:
        inputs[name].requires_grad_()
    parameters = _under("p.", inputs)
    arguments = {name: tensor for name, tensor in inputs.items() if not name.startswith("p.")}
    outputs = adapter(**arguments, **({"parameters": parameters} if parameters else {}))
    expected = _under("out.", tensors)
    missing = sorted(expected.keys() - outputs.keys())
    assert not missing, f"the adapter returns no {', '.join(missing)}"
    gap = max(_gap(outputs[name], value) for name, value in expected.items())
    if not gradients:
        return gap, 0.0
    total = sum(((outputs[name] * weight).sum() for name, weight in cotangents.items()), torch.zeros(()))
    found = torch.autograd.grad(total, [inputs[name] for name in gradients], allow_unused=True, materialize_grads=True)
    return gap, max(_gap(a, b) for a, b in zip(found, gradients.values(), strict=True))


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _gap(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape, f"the shape {tuple(found.shape)}, expected {tuple(expected.shape)}"
    if not expected.numel():
        return 0.0
    gap = (found.detach().double() - expected.double()).abs().nan_to_num(nan=float("inf")).max()
    return float(gap / expected.double().abs().max().clamp_min(1))


def main() -> int:
    """Print a line a case, and how many agree; the exit status is 1 if one of those with an adapter does not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds index.json and the safetensors files")
    parser.add_argument("pattern", nargs="?", default="*", help="which cases, e.g. 'mamba*'")
    options = parser.parse_args()
    if not (options.folder / "index.json").is_file():
        parser.error(f"{options.folder} holds no index.json")
    torch.set_num_threads(1)
    outcomes = list(run(options.folder, options.pattern))
    width = max((len(outcome.name) for outcome in outcomes), default=0)
    for outcome in outcomes:
        if outcome.known:
            gaps = f"{outcome.output_gap:8.1e} {outcome.gradient_gap:8.1e}"
            print(f"{outcome.name:{width}}  {gaps}  {outcome.problem or 'agrees'}")
    known = [outcome for outcome in outcomes if outcome.known]
    agree = sum(outcome.problem is None for outcome in known)
    unknown = sorted({outcome.op for outcome in outcomes if not outcome.known})
    print(f"\n{agree} of {len(known)} cases agree, {len(outcomes) - len(known)} unknown", end="")
    print(f": no adapter for {', '.join(unknown)}" if unknown else "")
    return int(agree < len(known))


if __name__ == "__main__":
    sys.exit(main())
