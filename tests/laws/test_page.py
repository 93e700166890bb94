"""docs/laws.md and the laws say the same."""

import re
from pathlib import Path

import pytest

from zoo.testing import LAWS

PAGE = (Path(__file__).parents[2] / "docs" / "laws.md").read_text(encoding="utf-8")
SECTIONS = {
    name: " ".join(text.split())
    for name, text in re.findall(r"^### `([\w-]+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
}


def test_every_law_has_a_paragraph_and_every_paragraph_a_law():
    assert sorted(SECTIONS) == sorted(LAWS)


@pytest.mark.parametrize("name", LAWS)
def test_a_paragraph_says_what_is_promised_and_the_bug_that_it_catches(name):
    assert SECTIONS[name].startswith(LAWS[name].promise)
    assert f"*The bug:* {LAWS[name].bug}" in SECTIONS[name]


def test_the_readme_and_the_changelog_count_the_laws_rightly():
    root = Path(__file__).parents[2]
    assert f"asks {len(LAWS)} laws" in (root / "README.md").read_text(encoding="utf-8")
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"hold any mixer or model to {len(LAWS)} of them", changes)
