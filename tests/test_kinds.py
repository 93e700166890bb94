"""One table of kinds: every member of every kind comes through the same door."""

import json

import pytest

from zoo.cli.main import run
from zoo.errors import UsageError
from zoo.plugin import hookspecs, kinds
from zoo.plugin.kinds import KINDS, MIXER, Kind, find_kind
from zoo.plugin.registry import HOST, forget, get_registry


def test_every_kind_has_a_hook_specification_and_a_base_class():
    for kind in KINDS:
        hook = getattr(hookspecs, kind.hook)
        assert getattr(hook, f"{hookspecs.GROUP}_spec")
        if kind.name != "tokenizer":
            assert isinstance(kind.load_base(), type)
    specified = {name for name in vars(hookspecs) if name.startswith("zoo_")}
    assert specified == {kind.hook for kind in KINDS} | {"zoo_commands"}


def test_every_kind_has_built_in_members_that_come_through_the_registry():
    for kind in KINDS:
        if kind.name in ("mixer", "channel-mixer", "task"):
            assert [entry for entry in get_registry()[kind].entries if entry.origin.distribution == HOST], kind


@pytest.mark.parametrize("text", ["channel-mixer", "channel_mixer", "channel mixers", " channel-mixers "])
def test_a_kind_is_found_however_it_is_spelt(text):
    assert find_kind(text) is kinds.CHANNEL_MIXER


def test_an_unknown_kind_is_told_with_those_there_are():
    with pytest.raises(
        UsageError, match=r"^there is no kind 'mixr' \(did you mean 'mixer'\?\); there are: mixer, chan"
    ):
        find_kind("mixr")


class Flavour:
    """The base class of a kind that no release has."""


SOURCE = '''
import pluggy
from zoo import TokenMixer, hookimpl
from {module} import Flavour

class Vanilla(Flavour):
    """Tastes of vanilla.

    Options:
        sweet: whether there is sugar in it.
    """

    def __init__(self, sweet: bool = True) -> None:
        self.sweet = sweet

@hookimpl
def zoo_flavours():
    return {{"vanilla": Vanilla}}
'''


@pytest.fixture
def flavour(monkeypatch):
    """A new kind: a row of the table, a hook specification, and a base class."""
    kind = Kind("flavour", "flavours", f"{__name__}:Flavour")

    @hookspecs.hookspec
    def zoo_flavours():
        """Flavours by name."""

    monkeypatch.setattr(kinds, "KINDS", (*KINDS, kind))
    monkeypatch.setattr(hookspecs, "zoo_flavours", zoo_flavours, raising=False)
    monkeypatch.setitem(__import__("sys").modules, __name__, __import__("sys").modules[Flavour.__module__])
    forget()
    yield kind
    monkeypatch.undo()
    forget()


def test_a_new_kind_costs_a_row_a_hook_and_a_base_class(flavour, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ZOO_PLUGIN_FILES", "")
    file = tmp_path / "tasty.py"
    file.write_text(SOURCE.format(module=Flavour.__module__))
    assert run(["-p", str(file), "list", "--kind", "flavour", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["name"], listed["kind"], listed["summary"]) == ("vanilla", "flavour", "Tastes of vanilla.")
    assert [option["name"] for option in listed["options"]] == ["sweet"]
    assert run(["-p", str(file), "info", "flavour:vanilla"]) == 0
    assert "whether there is sugar in it" in capsys.readouterr().out
    assert run(["-p", str(file), "plugins"]) == 0
    assert "vanilla" in capsys.readouterr().out
    assert run(["-p", str(file), "check", "vanilla"]) == 2
    assert capsys.readouterr().err.startswith("error: no law holds for flavours; those of mixer, channel-mixer, resid")
    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(file))
    forget()
    with pytest.raises(UsageError, match=r"^no flavour is named 'vanila' \(did you mean 'vanilla'\?\)"):
        get_registry()[flavour].find("vanila")
    with pytest.raises(UsageError, match=r"^vanilla has no option 'salty'"):
        get_registry()[flavour].find("vanilla").check({"salty": True})


def test_the_names_of_one_kind_are_free_in_another(flavour, tmp_path, monkeypatch):
    file = tmp_path / "tasty.py"
    file.write_text(SOURCE.format(module=Flavour.__module__).replace('"vanilla"', '"dot-product"'))
    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(file))
    forget()
    assert get_registry()[MIXER].find("dot-product").cls.__module__ == "mixers.dot_product"
    assert get_registry()[flavour].find("dot-product").summary == "Tastes of vanilla."
