"""Plugins without packaging: a file that is passed along, and classes of the running process."""

import json
import os

import pytest
import torch

import zoo
from zoo.cli.main import run
from zoo.errors import UsageError
from zoo.plugin.files import ENVIRONMENT, load_file
from zoo.plugin.kinds import CHANNEL_MIXER, MIXER
from zoo.plugin.local import find_class, with_file_names
from zoo.plugin.registry import forget, get_registry
from zoo.plugin.source_code import source_file
from zoo.train.plugins import check_plugins, plugins_of, with_recorded_origins
from zoo.train.settings import Settings

pytestmark = pytest.mark.usefixtures("no_plugin_files")

MINE = '''
from zoo import TokenMixer


class MyMean(TokenMixer):
    """Each token writes half of its read.

    Options:
        factor: of the read.
    """

    paper = "unpublished"

    def __init__(self, factor: float = 0.5) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x
'''

HOOKS = '''
import torch
from zoo import ChannelMixer, hookimpl


class Squared(ChannelMixer):
    """The square of each read."""

    def forward(self, x):
        return x * x


@hookimpl
def zoo_channel_mixers():
    return {"square": Squared}
'''


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_a_file_gives_its_classes_under_their_own_names(mine, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, str(mine))
    forget()
    entry = get_registry()[MIXER].find("my-mean")
    assert (entry.cls.__name__, entry.origin.distribution, entry.origin.file) == ("MyMean", "mine", str(mine))
    assert entry.qualified_name == "mine:my-mean"
    assert get_registry()[MIXER].find("mine:my_mean") == entry


def test_a_file_with_a_hook_gives_what_the_hook_gives(tmp_path, monkeypatch):
    (tmp_path / "hooks.py").write_text(HOOKS)
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "hooks.py"))
    forget()
    assert get_registry()[CHANNEL_MIXER].find("square").summary == "The square of each read."
    assert "squared" not in get_registry()[CHANNEL_MIXER].names


def test_a_class_in_a_file_stands_in_a_pattern(mine):
    assert with_file_names(f"{mine}:MyMean(factor=2)*2, dot-product") == "my-mean(factor=2)*2, dot-product"
    model = zoo.build_model(with_file_names(f"{mine}"), vocab_size=5, dim=8, layers=1, heads=1)
    assert type(model.layers[0].mixers[0]).__name__ == "MyMean"
    assert find_class(f"{mine}:MyMean").__name__ == "MyMean"
    assert find_class("dot-product") is None


@pytest.mark.parametrize(
    ("source", "place", "message"),
    [
        (MINE, "gone.py:Mine", "there is no plugin file .*gone.py$"),
        (MINE, "{}:MyMaen", r"has no class 'MyMaen' of any kind \(did you mean 'MyMean'\?\); there are: MyMean$"),
        (
            MINE + "\nclass Other(MyMean): pass\n",
            "{}",
            r"which class of .*\? write .*mine.py:Class; there are: MyMean, O",
        ),
        (
            "x = 1\n",
            "{}",
            r"mine.py gives nothing: write a hook, e.g. zoo_mixers\(\), or a subclass of zoo.TokenMixer,",
        ),
        (MINE + "\n1 / 0\n", "{}", r"mine.py fails in line \d+: ZeroDivisionError: division by zero$"),
        ("def f(:", "{}", "mine.py fails: SyntaxError"),
        ("raise SystemExit(3)", "{}", "mine.py fails in line 1: SystemExit: 3"),
        (
            MINE.replace("MyMean", "DotProduct"),
            "{}",
            "gives the mixer 'dot-product', and so does mixer-zoo .*: rename it",
        ),
        (
            HOOKS.replace("return {", "return 3 or {"),
            "{}",
            r"zoo_channel_mixers\(\) returned int, not a dict of channel m",
        ),
        (HOOKS.replace('"square"', '"Square Root"'), "{}", "'Square Root' is no name for a channel mixer"),
        (HOOKS.replace("zoo_channel_mixers", "zoo_chanel_mixers"), "{}", "mine.py: .*zoo_chanel_mixers"),
    ],
)
def test_a_mistake_is_one_line_with_what_to_do(tmp_path, capsys, source, place, message):
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(UsageError, match=message):
        with_file_names(place.format(path))
    forget()
    if place == "{}" and "which class" not in message:
        assert run(["-p", str(path), "list"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")


def test_a_script_that_is_passed_as_a_plugin_is_told_to_guard_what_it_does(mine, capsys):
    mine.write_text(MINE + "\nimport zoo\nzoo.create_mixer('dot-product', dim=8)\n")
    assert run(["-p", str(mine), "list"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{mine} fails in line 22: UsageError: a plugin file uses members while it is loaded: put that" in line


@pytest.mark.slow
def test_a_file_is_used_by_commands(mine, capsys):
    assert run(["-p", str(mine), "list", "--json"]) == 0
    assert "my-mean" in [entry["name"] for entry in json.loads(capsys.readouterr().out)]
    forget()
    assert run(["info", f"{mine}:MyMean(factor=2)", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert (described["name"], described["origin"]["file"]) == ("my-mean", str(mine))


def test_a_file_that_draws_random_numbers_changes_nothing_for_others(mine):
    mine.write_text("import torch\ntorch.manual_seed(3)\ntorch.set_default_dtype(torch.float64)\n" + MINE)
    before = torch.get_rng_state()
    with_file_names(str(mine))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_default_dtype() == torch.float32


class Halved(zoo.TokenMixer):
    """Each token writes half of its read."""

    def forward(self, x):
        return x / 2


def test_a_class_of_the_process_is_registered_and_registered_again():
    zoo.register("halved", Halved)
    assert type(zoo.create_mixer("halved", dim=8)) is Halved

    class Again(Halved):
        """Edited."""

    zoo.register("halved", Again)
    assert type(zoo.create_mixer("local:halved", dim=8)) is Again


@pytest.mark.parametrize(
    ("name", "cls", "message"),
    [
        ("dot-product", Halved, r"gives the mixer 'dot-product', and so does mixer-zoo .*: rename it"),
        ("Half", Halved, "'Half' is no name for a mixer: use lower-case letters, digits and '-'"),
        (
            "halved",
            int,
            "<class 'int'> is of no kind that can be registered: inherit from one of zoo.TokenMixer, zoo.Ch",
        ),
        ("halved", 3, "3 is of no kind"),
    ],
)
def test_what_cannot_be_registered(name, cls, message):
    with pytest.raises(UsageError, match=message):
        zoo.register(name, cls)
    assert "halved" not in get_registry()[MIXER].names


TINY = ["--steps", "2", "--dim", "8", "--heads", "1", "--layers", "1", "--context", "8", "--batch", "2"]
TINY += ["--set", "final_evaluation_tokens=64", "--set", "sample_tokens=4"]


def test_a_run_remembers_its_file_and_says_what_to_pass(mine, tmp_path, capsys):
    run_folder, text = str(tmp_path / "run"), tmp_path / "text.txt"
    text.write_text("the cat sat on the mat. " * 40)
    assert run(["train", "--mixer", f"{mine}:MyMean", "--data", str(text), "--out", run_folder, *TINY]) == 0
    recorded = json.loads((tmp_path / "run" / "env.json").read_text())["plugins"]["my-mean"]
    assert (recorded["distribution"], recorded["file"], len(recorded["file_sha256"])) == ("mine", str(mine), 64)

    def outcome(*arguments):
        monkeypatch_free_environment()
        capsys.readouterr()
        code = run([*arguments])
        return code, capsys.readouterr().err

    generate = ["generate", run_folder, "--tokens", "3"]
    code, said = outcome(*generate)
    assert (code, said) == (2, f"error: the mixer 'my-mean' came from the file {mine}: pass it with -p {mine}\n")
    assert outcome("-p", str(mine), *generate)[0] == 0
    mine.write_text(MINE.replace("0.5", "0.25"))
    code, said = outcome("-p", str(mine), *generate)
    assert (code, said.count("\n")) == (2, 1)
    assert "has changed since this began; go on all the same with --allow-changed" in said
    code, said = outcome("-p", str(mine), *generate, "--allow-changed")
    assert code == 0
    assert f"note: my-mean comes from the file {mine}, which has changed since this began" in said
    resume = ["-p", str(mine), "train", "--resume", run_folder, "--steps", "3"]
    assert outcome(*resume)[0] == 2
    assert outcome(*resume, "--allow-changed")[0] == 0


def monkeypatch_free_environment():
    """As a new process has it: the fixture `clean` puts the variables back."""
    os.environ[ENVIRONMENT] = ""
    os.environ.pop("ZOO_ALLOW_CHANGED", None)
    forget()


def test_what_was_registered_in_a_process_has_to_be_registered_again():
    with pytest.raises(
        UsageError,
        match=r"^the mixer 'halved' was registered in the process that used it: define it in a file",
    ):
        check_plugins({"halved": {"distribution": "local", "version": ""}})
    zoo.register("halved", Halved)
    assert check_plugins({"halved": {"distribution": "local", "version": ""}}) == {}


REGISTERS = (
    MINE
    + """
import zoo

zoo.register("mean-of-mine", MyMean)
"""
)


def test_a_file_may_register_its_classes(mine, monkeypatch):
    mine.write_text(REGISTERS)
    monkeypatch.setenv(ENVIRONMENT, str(mine))
    forget()
    entry = get_registry()[MIXER].find("mean-of-mine")
    assert (entry.origin.distribution, entry.origin.file) == ("mine", str(mine))
    assert "my-mean" not in get_registry()[MIXER].names


@pytest.mark.slow
@pytest.mark.parametrize(("name", "source"), [("my-mean", MINE), ("another-name", MINE), ("mean-of-mine", REGISTERS)])
def test_what_a_script_registered_comes_from_its_file_in_another_process(mine, monkeypatch, name, source):
    mine.write_text(source)
    zoo.register(name, load_file(mine).members[0].cls)
    settings = Settings(mixer=name)
    recorded = plugins_of(settings)
    assert recorded[name] == recorded[name] | {"distribution": "local", "class": "MyMean", "file": str(mine)}
    forget()
    with pytest.raises(UsageError, match=rf"^the mixer '{name}' came from the file {mine}: pass it with -p {mine}$"):
        check_plugins(recorded)
    monkeypatch.setenv(ENVIRONMENT, str(mine))
    forget()
    assert check_plugins(recorded) == {}
    registry = with_recorded_origins({"plugins": recorded})
    assert type(zoo.create_mixer(name, dim=8, registry=registry)).__name__ == "MyMean"
    mine.write_text(source + "# edited")
    forget()
    with pytest.raises(UsageError, match="has changed since this began"):
        check_plugins(recorded)


def test_a_class_of_a_prompt_has_no_file():
    assert source_file(Halved) == __file__
    typed = type("Typed", (Halved,), {"__module__": Halved.__module__})  # as after `python -i script.py`
    assert source_file(typed) is None
