"""``zoo plan``, as it is typed."""

import json

import pytest

SMALL = ["--dim", 128, "--layers", 2, "--head-size", 32, "--context", 64, "--vocab-size", 256, "--tokens", "1e9"]
SMALL += ["--step-tokens", "1e5"]


@pytest.mark.slow
def test_the_table_and_the_command(zoo):
    result = zoo("plan", "correlation", *SMALL, "--gpus", 16)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert "correlation: width 128, 2 layers, 4 heads, context 64, 256 tokens" in lines[1]
    rows = [line.split() for line in lines if line.startswith(("ddp", "fsdp"))]
    assert [(row[0], row[1]) for row in rows] == [("ddp", "no"), ("ddp", "yes"), ("fsdp", "no"), ("fsdp", "yes")]
    command = next(line for line in lines if line.startswith("take"))
    assert "torchrun --nnodes 2 --nproc-per-node 8 -m zoo train --mixer correlation" in command
    assert "engine=ddp" in command


def test_one_gpu_needs_no_engine(zoo):
    result = zoo("plan", "dot-product", *SMALL, "--gpus", 1, "--gpu", "4090")
    assert "python -m zoo train" in result.out
    assert "engine=" not in result.out


def test_json(zoo):
    made = json.loads(zoo("plan", "dot-product", *SMALL, "--json").out)
    assert made["layouts"][made["best"]]["fits"]
    assert made["costs"]["parameters"] == made["costs"]["active_parameters"]


@pytest.mark.slow
def test_what_fits_nowhere_is_said(zoo):
    result = zoo("plan", "dot-product", "--dim", 16384, "--layers", 96, "--gpus", 1, "--gpu", "4090", "--context", 256)
    assert result.code == 0
    assert "none of them fits 1 of these" in result.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["dot-product"], "either --params, e.g. 7e9, or --dim and --layers"),
        (["dot-product", "--params", "many"], "--params many should be a number"),
        (["dot-product", "--params", "1e9", "--layers", "4"], "--layers goes with --dim"),
        (["dot-product", "--dim", "100", "--layers", "4"], "--dim 100 is no multiple of --head-size 128"),
        (["no-such", "--dim", "128"], "no-such"),
        (["dot-product", "--dim", "128", "--gpu", "h10"], "did you mean 'h100'"),
    ],
)
def test_mistakes(zoo, arguments, text):
    result = zoo("plan", *arguments)
    assert result.code == 2
    assert text in result.err
    assert "Traceback" not in result.err
