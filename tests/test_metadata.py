"""What the packages say they run with is what was tested."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECTS = sorted([ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")])
PINNED = dict(re.findall(r"^([\w.-]+)==([\w.]+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_lower_bounds_are_the_tested_versions_to_the_minor_one(path):
    project = tomllib.loads(path.read_text())["project"]
    every = [
        *project["dependencies"],
        *(each for some in project.get("optional-dependencies", {}).values() for each in some),
    ]
    bounds = [re.fullmatch(r"([\w.-]+)>=([\d.]+)", each).groups() for each in every if not each.startswith("mixer-zoo")]
    pinned = {normal(name): version for name, version in PINNED.items()}
    assert bounds
    for name, least in bounds:
        assert least == ".".join(pinned[normal(name)].split(".")[:2]), name


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_the_python_that_is_claimed_is_the_one_that_the_checks_aim_at(path):
    project = tomllib.loads(path.read_text())["project"]
    claimed = {each.rpartition(" :: ")[2] for each in project.get("classifiers", []) if re.search(r":: 3\.\d+$", each)}
    assert claimed <= {"3.11"}
    assert project["requires-python"] == ">=3.11"
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["python_version"] == "3.11"
