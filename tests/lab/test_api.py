"""Comparisons and benchmarks from Python."""

import os
from pathlib import Path

import pytest
import torch

import zoo
from zoo.errors import UsageError
from zoo.plugin.files import ENVIRONMENT

TASK = "mqar(vocab=32, pairs=2, length=16)"
SMALL = {"data": TASK, "budget": "steps:2", "dim": 16, "heads": 2, "layers": 1, "jobs": 1}

MINE = """
from zoo import TokenMixer

class Kept(TokenMixer):
    "Each token writes its read."

    def forward(self, x):
        return x
"""


class Kept(zoo.TokenMixer):
    def forward(self, x):
        return x


@pytest.fixture(autouse=True)
def _here(own_world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ENVIRONMENT, "")


@pytest.mark.slow
def test_a_bench_is_its_figures_and_writes_only_where_it_is_told(tmp_path):
    torch.set_num_threads(2)
    asked = {"lengths": [16, 8], "kinds": ["decode"], "dim": 16, "heads": 2, "repeats": 1, "threads": 1}
    measured = zoo.bench(["involution"], **asked)
    assert [cell.length for cell in measured.row("decode", "involution")] == [8, 16]
    assert all(cell.cost > 0 for cell in measured.cells)
    assert torch.get_num_threads() == 2
    assert list(tmp_path.iterdir()) == []
    zoo.bench(["involution"], **asked, out="figures")
    assert (tmp_path / "figures" / "bench.json").is_file()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: zoo.bench(["involutoin"]), r"did you mean 'involution'\?"),
        (lambda: zoo.compare(["dot-product"], **SMALL | {"data": "mqra"}), "there is no data 'mqra'"),
        (lambda: zoo.compare(["dot-product"], **SMALL, dmi=3), r"there is no setting 'dmi' \(did you mean 'dim'\?\)"),
        (lambda: zoo.compare([], **SMALL), "there is nothing to compare"),
        (lambda: zoo.compare(["dot-product"], **SMALL, solved=99), "`solved`='99' should be an accuracy above 0"),
        (lambda: zoo.compare(["dot-product"], **SMALL, noise_floor=True, seeds=1), "are too few for `noise_floor`"),
        (lambda: zoo.compare(["dot-product"], **SMALL, match="parms"), r"should be one of none, params.*'params'\?"),
    ],
)
def test_a_mistake_is_told_before_anything_is_done(call, text, tmp_path):
    with pytest.raises(UsageError, match=text):
        call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_only_this_process_knows_is_not_compared_in_several(tmp_path):
    zoo.register("kept", Kept)
    with pytest.raises(
        UsageError,
        match=r"^kept is registered in this process only, and every run of a comparison has its own: "
        r"name the class by its file, \./test_api\.py:Kept$",
    ):
        zoo.compare(["kept", "dot-product"], **SMALL | {"jobs": 2})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_class_in_a_file_is_compared_and_a_comparison_goes_on(tmp_path):
    Path("mine.py").write_text(MINE)
    patterns = ["./mine.py:Kept", "dot-product"]
    zoo.register("kept", Kept)  # the same name, as in a script that registers what it defines
    first = zoo.compare(patterns, **SMALL, out="out")
    assert type(zoo.create_mixer("kept", dim=8)) is Kept
    assert [arm.arm.pattern for arm in first.results.data[0].arms] == ["kept", "dot-product"]
    assert [arm.error for arm in first.results.data[0].arms] == [None, None]
    assert str(first).startswith(f"{TASK}: ")
    assert os.environ[ENVIRONMENT] == ""
    assert (first.folder / "report.html").is_file()
    again = zoo.compare(patterns, **SMALL, out="out")
    assert [arm.estimate for arm in again.results.data[0].arms] == [arm.estimate for arm in first.results.data[0].arms]


@pytest.mark.slow
def test_solve_rates_and_a_noise_floor(tmp_path):
    measured = zoo.compare(["dot-product"], **SMALL | {"seeds": 5}, solved="1%", noise_floor=True, out="floor")
    (data,) = measured.results.data
    assert data.solved == 0.01
    assert data.solve_rate(data.arms[0]).seeds == 5
    assert data.noise_floor(data.arms[0]).seeds == 5
    page = measured._repr_html_()
    assert "solved (1.0 %)" in page
    assert page.count("<table") == 2
    assert "resolved by 10 seeds (points)" in page
