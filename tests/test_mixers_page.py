"""docs/mixers.md and its map are what the registered mixers say of themselves."""

import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

from zoo.plugin.kinds import CHANNEL_MIXER, HYBRID, MIXER
from zoo.plugin.pattern import parse

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "mixers.md"
FOLDER = ROOT / "docs" / "mixers"


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build_mixers", FOLDER / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sizes():
    return json.loads((FOLDER / "sizes.json").read_text(encoding="utf-8"))


def names(build, kind):
    return {entry.name for entry in build.built_ins(kind)}


def test_every_built_in_is_measured_and_in_a_family(build, sizes):
    built_in = names(build, MIXER) | names(build, CHANNEL_MIXER)
    assert set(sizes) == built_in, "run docs/mixers/build.py"
    placed = [name for members in build.families().values() for name in members]
    assert sorted(placed) == sorted(built_in)


def test_the_page_and_the_map_are_not_stale(build, sizes):
    for path, text in build.render(sizes).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale: run docs/mixers/build.py"


def test_theory_names_built_ins_only(build):
    theory = tomllib.loads((FOLDER / "theory.toml").read_text(encoding="utf-8"))
    assert {*theory["mixers"], *theory["tracks_state"]} <= names(build, MIXER)
    assert {arrow[end] for arrow in theory["arrows"] for end in ("from", "to")} <= set(build.families())


def test_a_family_without_theory_is_reported(build, sizes, monkeypatch):
    monkeypatch.setattr(build, "families", lambda: {"novel": []})
    with pytest.raises(SystemExit, match=r"says nothing of novel: add \[families\.novel\]"):
        build.render(sizes)


def test_links_lead_to_headings_of_the_page():
    page = PAGE.read_text(encoding="utf-8")
    headings = [title.lower().replace(" ", "-") for title in re.findall(r"^##+ (.+)$", page, re.MULTILINE)]
    anchors = {f"{one}-{n}" if (n := headings[:place].count(one)) else one for place, one in enumerate(headings)}
    links = re.findall(r"\]\(#([^)]+)\)", page)
    assert len(links) == len(set(links)) == len(headings)
    assert set(links) == anchors


def test_the_patterns_of_hybrids_are_those_of_the_hybrids(build):
    rows = re.findall(r"^\| `(\S+)` \| (\d+|any) \| `(.+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for name, _, _ in rows} == names(build, HYBRID)
    for entry in build.built_ins(HYBRID):
        depth, pattern = next((depth, pattern) for name, depth, pattern in rows if name == entry.name)
        layers = entry.cls.depth or entry.cls.reduced
        assert depth == str(entry.cls.depth or "any")
        assert parse(pattern).layers(layers) == parse(entry.cls().pattern(layers)).layers(layers)


@pytest.mark.slow
def test_the_script_measures_what_is_committed(build, sizes, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["build.py", "--check"])
    assert build.main() == 0
    stale = tmp_path / "sizes.json"
    stale.write_text(json.dumps(sizes).replace("65536", "65535"), encoding="utf-8")
    monkeypatch.setattr(build, "SIZES", stale)
    monkeypatch.setattr(build, "measure", lambda: sizes)
    assert build.main() == 1
    assert capsys.readouterr().err == "sizes.json: stale, run python docs/mixers/build.py\n"
    monkeypatch.setattr(sys, "argv", ["build.py"])
    monkeypatch.setattr(build, "render", lambda sizes: {})
    assert build.main() == 0
    assert json.loads(stale.read_text(encoding="utf-8")) == sizes
