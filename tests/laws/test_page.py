"""docs/laws.md and the laws say the same."""

import re
from pathlib import Path

import pytest

from zoo.testing import LAWS
from zoo.testing.kinds import SUITES

PAGE = (Path(__file__).parents[2] / "docs" / "laws.md").read_text(encoding="utf-8")
PARTS = {
    "channel-mixer": "Channel mixers",
    "residual": "Residual schemes",
    "task": "Tasks",
    "corpus": "Corpora",
    "tokenizer": "Tokenizers",
    "optimizer": "Optimizers",
    "hybrid": "Hybrids",
    "executor": "Executors",
    "reporter": "Reporters",
}
"""The part of the page for each kind but mixers, which have what comes before."""

OF_KIND = dict(zip(["mixer", *PARTS], re.split(rf"^## (?:{'|'.join(PARTS.values())})$", PAGE, flags=re.M), strict=True))
SECTIONS = {
    (kind, name): " ".join(text.split())
    for kind, part in OF_KIND.items()
    for name, text in re.findall(r"^### `([\w-]+)`\n(.*?)(?=^##|\Z)", part, re.MULTILINE | re.DOTALL)
}


def promised():
    """Each law of each kind that no kind before makes, and those that one shares with a kind before it."""
    own, shared, known = {}, {}, set()
    for kind in OF_KIND:
        for name, law in SUITES[kind].laws.items():
            (shared if law.promise in known else own)[kind, name] = law
        known |= {law.promise for law in SUITES[kind].laws.values()}
    return own, shared


OWN, SHARED = promised()


def test_every_law_has_a_paragraph_and_every_paragraph_a_law():
    assert set(OF_KIND) == set(SUITES)
    assert sorted(SECTIONS) == sorted(OWN)


@pytest.mark.parametrize(("kind", "name"), OWN)
def test_a_paragraph_says_what_is_promised_and_the_bug_that_it_catches(kind, name):
    law, text = OWN[kind, name], SECTIONS[kind, name]
    assert text.startswith(law.promise)
    assert f"*The bug:* {law.bug}" in text


def test_the_part_of_a_kind_names_the_laws_that_it_shares():
    for kind, part in OF_KIND.items():
        introduction = part.split("\n### ")[0]
        assert {name for of, name in SHARED if of == kind} <= set(re.findall(r"`([\w-]+)`", introduction))


def test_the_page_names_the_laws_of_finish():
    finish = PAGE.split("worse to use:")[1].split(".")[0]
    graded = {name for suite in SUITES.values() for name, law in suite.laws.items() if law.grade == "finish"}
    assert set(re.findall(r"`([\w-]+)`", finish)) == graded


def test_the_readme_and_the_changelog_count_the_laws_rightly():
    root = Path(__file__).parents[2]
    assert f"asks {len(LAWS)} laws" in (root / "README.md").read_text(encoding="utf-8")
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"hold any mixer or model to {len(LAWS)} of them", changes)
