"""docs/results.md is what the committed results give; nothing is measured again."""

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
BUILD = RESULTS / "build.py"
FOLDERS = sorted(path.parent.name for path in RESULTS.glob("*/results.json"))


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build_results", BUILD)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_not_stale(build):
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == build.render(), "run docs/results/build.py"


@pytest.mark.slow
def test_a_stale_page_is_found(build, tmp_path, monkeypatch, capsys):
    stale = tmp_path / "results.md"
    stale.write_text(build.render().replace("%", "percent", 1), encoding="utf-8")
    monkeypatch.setattr(build, "PAGE", stale)
    monkeypatch.setattr(sys, "argv", ["build.py", "--check"])
    assert build.main() == 1
    assert "stale" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["build.py"])
    assert build.main() == 0
    monkeypatch.setattr(sys, "argv", ["build.py", "--check"])
    assert build.main() == 0


@pytest.mark.slow
def test_the_script_runs_by_itself():
    done = subprocess.run([sys.executable, BUILD, "--check"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_means_are_those_of_the_runs(folder):
    """Each mean from the table of all runs, by hand."""
    results = json.loads((RESULTS / folder / "results.json").read_text(encoding="utf-8"))
    with (RESULTS / folder / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "result"]
    for data in results["data"]:
        for arm in data["arms"]:
            own = [row for row in rows if (row["data"], row["pattern"]) == (data["name"], arm["pattern"])]
            values = [float(row[f"validation_{data['metric']}"]) for row in own]
            assert len(values) == len(results["seeds"])
            assert arm["estimate"]["mean"] == pytest.approx(sum(values) / len(values))


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_result_speaks_of_the_machine_s_folders(folder):
    for path in (RESULTS / folder).iterdir():
        if path.suffix in {".json", ".csv"}:
            text = path.read_text(encoding="utf-8")
            assert not any(word in text for word in ("/tmp/", "/home/", "/root/", "/Users/")), path
