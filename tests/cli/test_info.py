"""`zoo info` of members of every kind, of presets, and of what there is not."""

import json

import pytest

from zoo.describe.parts import parse_doc
from zoo.plugin.kinds import KINDS
from zoo.plugin.registry import get_registry
from zoo.train.resolve import list_presets, load_preset

USES = {
    "involution": "zoo train --mixer involution",
    "olmo-hybrid": "zoo train --mixer olmo-hybrid",
    "swiglu(hidden=64)": "zoo train --channel-mixer 'swiglu(hidden=64)'",
    "hyper_connections": "zoo train --residual hyper-connections",
    "mqar": "zoo train --data mqar; an example: zoo tasks mqar",
    "shakespeare": "zoo train --data shakespeare",
    "bpe": "zoo train --tokenizer bpe",
    "muon": "zoo train --optimizer muon",
    "processes": "zoo compare … --on processes",
    "csv": "zoo train --report csv",
}


@pytest.mark.parametrize(("name", "use"), USES.items())
def test_a_member_of_every_kind_is_described_with_the_command_that_takes_it(zoo, name, use):
    result = zoo("info", name)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == name.replace("_", "-")
    assert [line.split(maxsplit=1)[1] for line in lines if line.startswith("use ")] == [use]


def test_the_uses_are_of_all_kinds():
    registry = get_registry()
    plain = {name.partition("(")[0].replace("_", "-") for name in USES}
    assert all(plain & set(registry[kind].names) for kind in KINDS)


def test_a_mixer_that_is_not_causal_is_for_the_masked_objective(zoo, registered):
    import torch  # noqa: F401 - what follows needs it

    from zoo import TokenMixer

    class BothWays(TokenMixer):
        """Each token writes the mean of all."""

        causal = False

        def forward(self, x):
            return x.mean(1, keepdim=True).expand_as(x)

    registered("both-ways", BothWays)
    assert "zoo train --mixer both-ways --objective masked" in zoo("info", "both-ways").out


@pytest.mark.parametrize("name", list_presets())
def test_a_preset_is_described_by_what_it_sets(zoo, name):
    printed = json.loads(zoo("info", name, "--json").out)
    assert (printed["name"], printed["kind"]) == (name, "preset")
    assert {each["name"]: each["value"] for each in printed["settings"]} == load_preset(name)
    assert all(each["meaning"] for each in printed["settings"])
    page = zoo("info", f"preset:{name}").out
    assert page.startswith(f"{name}\n")
    assert f"zoo train --preset {name}" in page


@pytest.mark.parametrize(
    ("name", "code", "error"),
    [
        ("preset:quik", 2, "no preset is named 'quik' (did you mean 'quick'?)"),
        ("quick(dim=4)", 2, "the preset quick has no options: write zoo train --preset quick --set NAME=VALUE"),
        (
            "swigluu",
            2,
            "no mixer is named 'swigluu', nor another member (did you mean 'swiglu'?); see all with",
        ),
        ("tensorboard", 4, "reporter 'tensorboard' comes with a plugin: pip install zoo-tensorboard"),
        ("zzz", 2, "no mixer is named 'zzz'; there are: "),
        ("residual:zzz", 2, "no residual scheme is named 'zzz'; there are: "),
    ],
)
def test_what_there_is_not(zoo, name, code, error):
    result = zoo("info", name)
    assert result.code == code
    assert result.err.startswith(f"error: {error}")
    assert result.err.count("\n") == 1


def test_arguments_that_the_host_gives_are_no_text():
    assert parse_doc("Runs.\n\nArgs:\n    jobs: how many.\n\nMore.")["text"] == "More."


def test_an_empty_default_is_shown(zoo):
    (row,) = (line for line in zoo("info", "csv").out.splitlines() if line.startswith("folder"))
    assert row.split()[:3] == ["folder", "str", "''"]
