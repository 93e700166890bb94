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
BUILD, SUITES = RESULTS / "build.py", RESULTS / "suites.py"
FOLDERS = sorted(path.parent.name for path in RESULTS.glob("*/results.json"))


@pytest.fixture(scope="module")
def build():
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(RESULTS)  # as for a script, whose folder it is
        return load(BUILD)


def load(path):
    spec = importlib.util.spec_from_file_location(f"docs_results_{path.stem}", path)
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
@pytest.mark.parametrize("script", [BUILD, SUITES], ids=lambda path: path.name)
def test_the_scripts_run_by_themselves(script):
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_picture_of_other_results_is_found(tmp_path, monkeypatch, capsys):
    suites = load(SUITES)
    monkeypatch.setattr(suites, "PICTURES", tmp_path)
    monkeypatch.setattr(sys, "argv", [SUITES.name])
    assert suites.main() == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.svg" for name in suites.SUITES}
    monkeypatch.setattr(sys, "argv", [SUITES.name, "--check"])
    assert suites.main() == 0
    name, panels = next(iter(suites.SUITES.items()))
    monkeypatch.setitem(suites.SUITES, name, panels[:1])
    assert suites.main() == 1
    assert f"{name}.svg in docs/tasks" in capsys.readouterr().err


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
