"""docs/laws.md and the laws say the same."""

import re
from pathlib import Path

import pytest

from zoo.testing import LAWS
from zoo.testing.kinds import CHANNEL_MIXER, SUITES

PAGE = (Path(__file__).parents[2] / "docs" / "laws.md").read_text(encoding="utf-8")
SECTIONS = {
    name: " ".join(text.split())
    for name, text in re.findall(r"^### `([\w-]+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
}


PROMISED = {name: law for suite in reversed(SUITES.values()) for name, law in suite.laws.items()}


def test_every_law_has_a_paragraph_and_every_paragraph_a_law():
    assert sorted(SECTIONS) == sorted(PROMISED)


@pytest.mark.parametrize("name", PROMISED)
def test_a_paragraph_says_what_is_promised_and_the_bug_that_it_catches(name):
    assert SECTIONS[name].startswith(PROMISED[name].promise)
    assert f"*The bug:* {PROMISED[name].bug}" in SECTIONS[name]


def test_the_page_names_the_laws_of_channel_mixers_and_those_of_finish():
    channel = " ".join(PAGE.split("## Channel mixers")[1].split())
    assert {name for name in CHANNEL_MIXER.laws if f"`{name}`" not in channel} == set()
    assert CHANNEL_MIXER.laws["documentation"].promise[1:] in channel
    finish = PAGE.split("worse to use:")[1].split(".")[0]
    assert sorted(re.findall(r"`([\w-]+)`", finish)) == sorted(
        n for n, law in PROMISED.items() if law.grade == "finish"
    )


def test_the_readme_and_the_changelog_count_the_laws_rightly():
    root = Path(__file__).parents[2]
    assert f"asks {len(LAWS)} laws" in (root / "README.md").read_text(encoding="utf-8")
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"hold any mixer or model to {len(LAWS)} of them", changes)
