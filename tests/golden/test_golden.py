"""Operators and layers against golden vectors of other people's code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from . import run

HERE = Path(__file__).parent
COMMITTED = HERE / "cases"
MORE = HERE.parents[2] / "shared" / "golden"
"""All vectors, in a checkout that has them beside it."""


@pytest.mark.parametrize(
    "name", [f"{c['op']}-{c['case']}" for c in json.loads((COMMITTED / "index.json").read_text())["cases"]]
)
def test_committed_cases(name):
    (outcome,) = run.run(COMMITTED, name)
    assert outcome.problem is None, outcome


@pytest.mark.slow
@pytest.mark.skipif(not MORE.is_dir(), reason="the vectors are not beside the checkout")
def test_all_cases():
    assert not [outcome for outcome in run.run(MORE) if outcome.known and outcome.problem]


def make_folder(folder, out, grad):
    tensors = {
        "in.q": torch.tensor([1.0, 2.0]),
        "out.o": torch.tensor(out),
        "cot.o": torch.ones(2),
        "grad.q": torch.tensor(grad),
    }
    save_file({name: tensor.double() for name, tensor in tensors.items()}, folder / "square-t2.safetensors")
    cases = [{"op": "square", "case": "t2"}, {"op": "cube", "case": "t2"}]
    (folder / "index.json").write_text(json.dumps({"cases": cases}))


@pytest.mark.parametrize(
    ("out", "grad", "agrees"),
    [([1.0, 4.0], [2.0, 4.0], True), ([1.0, 4.1], [2.0, 4.0], False), ([1.0, 4.0], [2.0, 4.1], False)],
)
def test_outputs_and_gradients_are_compared(tmp_path, monkeypatch, out, grad, agrees):
    make_folder(tmp_path, out, grad)
    monkeypatch.setattr(run, "adapters", lambda: ({"square": lambda q: {"o": q * q}}, {}))
    square, cube = run.run(tmp_path)
    assert (square.problem is None) is agrees
    assert not cube.known


def test_an_adapter_that_fails_is_reported(tmp_path, monkeypatch):
    make_folder(tmp_path, [1.0, 4.0], [2.0, 4.0])
    monkeypatch.setattr(
        run, "adapters", lambda: ({"square": lambda q: {"o": q * float("nan")}, "cube": lambda q: {}}, {})
    )
    square, cube = run.run(tmp_path)
    assert "more than" in square.problem
    assert cube.known
    assert "No such file" in cube.problem


@pytest.mark.slow
def test_the_script_says_what_agrees_and_what_it_does_not_know(tmp_path):
    make_folder(tmp_path, [1.0, 4.0], [2.0, 4.0])
    done = subprocess.run([sys.executable, run.__file__, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("0 of 0 cases agree, 2 unknown: no adapter for cube, square\n")
