"""Completion in the shell: what is offered, in which words, how quickly, and never an error."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
import typer

from zoo.cli.completing.answer import answer
from zoo.cli.completing.candidates import _SOURCES, _SOURCES_OF_COMMANDS
from zoo.cli.completing.line import TypedWord, split_line
from zoo.cli.completing.program import describe_program
from zoo.cli.completing.scripts import SCRIPTS
from zoo.cli.main import app
from zoo.cli.plugin_commands import remember_plugins
from zoo.plugin.listing import listing_of, read_listing
from zoo.plugin.registry import get_registry
from zoo.train.settings import Settings

BREAKS = " \t\n\"'><=;|&(:"
"""What splits words in bash by default."""

FREE = {
    "prompt",
    "lengths",
    "max_time",
    "lrs",
    "min_effect",
    "solved",
    "options",
    "params",
    "tokens",
    "step_tokens",
    "name",
    "glob",
}
"""Parameters that take a text of the user's own."""


@pytest.fixture(scope="module", autouse=True)
def remembered(_own_world):
    get_registry()
    remember_plugins()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(line, shell="fish"):
    """The candidates for the word at the end of a line."""
    return [row.partition("\t")[0] for row in answer(shell, line, {**os.environ, "_ZOO_BREAKS": BREAKS}).splitlines()]


def test_words_are_cut_as_a_shell_does():
    assert split_line("zoo train ") == [TypedWord("zoo"), TypedWord("train"), TypedWord("")]
    assert split_line("zoo 'a b") == [TypedWord("zoo"), TypedWord("a b", "'")]
    assert split_line(r"a\ b 'c'\''d' " + '"e\\"f\\g')[:2] == [TypedWord("a b"), TypedWord("c'd", "", 2)]
    assert split_line('"e\\"f\\g')[-1].value == 'e"f\\g'
    assert split_line("--mixer='corr", BREAKS)[-1] == TypedWord("--mixer=corr", "'", len("--mixer="))
    assert split_line("optimizer:mu", BREAKS)[-1] == TypedWord("optimizer:mu", "", len("optimizer:"))


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("zoo ", ["train", "completion", "doctor"]),
        ("zoo tra", ["train"]),
        ("OMP_NUM_THREADS=1 zoo tra", ["train"]),
        ("zoo --de", ["--debug"]),
        ("zoo train --mi", ["--mixer"]),
        ("zoo train --compile --dry", ["--dry-run"]),
        ("zoo train --mixer corr", ["correlation"]),
        ("zoo train --mixer=corr", ["--mixer=correlation"]),
        ("zoo train --mixer olmo-h", ["olmo-hybrid"]),
        ("zoo train --mixer 'correlation*3, dot-pr", ["correlation*3, dot-product"]),
        ("zoo train --mixer correlation+invo", ["correlation+involution"]),
        ("zoo train --mixer '(correlation, invo", ["(correlation, involution"]),
        ("zoo train --mixer correlation/swi", ["correlation/swiglu"]),
        ("zoo train --mixer 'dot-product(win", ["dot-product(window="]),
        ("zoo train --mixer 'dot-product(heads=2, win", ["dot-product(heads=2, window="]),
        ("zoo train --mixer 'correlation, dot-product@a(win", ["correlation, dot-product@a(window="]),
        ("zoo train --channel-mixer swi", ["swiglu"]),
        ("zoo train --residual 'hyper-connections(str", ["hyper-connections(streams="]),
        ("zoo train --data mq", ["mqar"]),
        ("zoo train --data shak", ["shakespeare"]),
        ("zoo train --data 'mqar(pai", ["mqar(pairs="]),
        ("zoo train --tokenizer b", ["byte", "bpe"]),
        ("zoo train --optimizer m", ["muon"]),
        ("zoo train --report ", ["csv", "none"]),
        ("zoo compare --on p", ["processes"]),
        ("zoo compare --data MA", ["MAD"]),
        ("zoo compare --tier l", ["laptop"]),
        ("zoo compare --match f", ["flops"]),
        ("zoo compare a b --budget s", ["steps:", "seconds:"]),
        ("zoo train --preset nanogpt-", ["nanogpt-cpu"]),
        ("zoo train --set sched", ["schedule="]),
        ("zoo train --set schedule=w", ["schedule=wsd"]),
        ("zoo train --set optimizer=mu", ["optimizer=muon"]),
        ("zoo train --set tie_embeddings=f", ["tie_embeddings=false"]),
        ("zoo train --documents s", ["separate"]),
        ("zoo train --precision b", ["bf16"]),
        ("zoo info mu", ["muon"]),
        ("zoo info nanogpt-", ["nanogpt-cpu"]),
        ("zoo info optimizer:mu", ["optimizer:muon"]),
        ("zoo info optim", ["optimizer:"]),
        ("zoo check 'swiglu(hid", ["swiglu(hidden="]),
        ("zoo check muon --only qu", ["quadratic"]),
        ("zoo check correlation --skip caus", ["causality"]),
        ("zoo compare correlation dot-p", ["dot-product"]),
        ("zoo bench correlation dot-p", ["dot-product"]),
        ("zoo bench a --what forward,mem", ["forward,memory"]),
        ("zoo bench mod", ["model"]),
        ("zoo bench model correlation dot-p", ["dot-product"]),
        ("zoo bench model a --what evaluation,dec", ["evaluation,decode"]),
        ("zoo plan --gpu h1", ["h100"]),
        ("zoo list --kind al", ["all"]),
        ("zoo tasks mq", ["mqar"]),
        ("zoo runs r", ["rm"]),
        ("zoo completion z", ["zsh"]),
    ],
)
def test_what_is_offered(line, some, here):
    found = offered(line)
    assert set(some) <= set(found)
    assert len(found) == len(set(found))
    assert all(each.startswith(split_line(line)[-1].value) for each in found)


@pytest.mark.parametrize(
    "line",
    [
        "zoo nonsense --mi",
        "zoo train --steps ",
        "zoo train --nonsense=",
        "zoo train --mixer 'correlation*",
        "zoo train --mixer 'dot-product(window=",
        "zoo train --mixer 'correlation, olmo",
        "zoo info correlation more",
        "zoo runs rm r",
        "zoo train --report 'csv, csv",
        "zoo train --config /nowhere/at/all/",
        "zoo generate --prompt ",
    ],
)
def test_nothing_is_offered_where_nothing_fits(line, here):
    assert offered(line) == []


def test_an_option_that_was_given_is_not_offered_again():
    assert "dot-product(window=4, window=" not in offered("zoo train --mixer 'dot-product(window=4, ")
    assert "dot-product(window=4, heads=" in offered("zoo train --mixer 'dot-product(window=4, ")


def test_the_laws_are_those_of_the_member():
    of_optimizers, of_all = set(offered("zoo check muon --only ")), set(offered("zoo check --only "))
    assert "causality" in of_all - of_optimizers
    assert of_optimizers < of_all


def test_runs_and_comparisons(here):
    for name in ("runs/one", "runs/a b", "comparisons/c"):
        (here / name).mkdir(parents=True)
    for sign in ("runs/one/config.json", "runs/a b/config.json", "comparisons/c/comparison.json"):
        (here / sign).write_text("{}")
    (here / "runs" / "no-run").mkdir()
    for line in ("zoo generate ", "zoo train --resume ", "zoo plot runs/one ", "zoo inspect ", "zoo report "):
        assert set(offered(line)) == {"latest", "runs/one", "runs/a b"}, line
    assert set(offered("zoo compare --resume ")) == {"latest", "comparisons/c"}
    assert offered("zoo generate runs/o") == ["runs/one"]
    assert offered("zoo generate ./ru") == ["./runs/"]


def test_files_and_folders(here):
    for name in ("a.toml", "a.txt", ".hidden.toml", "folder/b.toml", "line\nend.toml"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text("")
    assert offered("zoo train --config ") == ["a.toml", "folder/"]
    assert offered("zoo train --config folder/") == ["folder/b.toml"]
    assert offered("zoo train --config .h") == [".hidden.toml"]
    assert {"a.txt", "folder/", "mqar"} <= set(offered("zoo train --data "))
    assert offered("zoo new-plugin x --dir ") == ["folder/"]


def test_bash_gets_what_replaces_the_word(here):
    (here / "a b.toml").write_text("")
    assert offered("zoo train --config a", "bash") == ["space", r"a\ b.toml"]
    assert offered("zoo train --config 'a", "bash") == ["space", "a b.toml"]
    assert offered("zoo train --mixer=corr", "bash") == ["space", "correlation"]
    assert offered("zoo train --set schedule=w", "bash") == ["space", "wsd"]
    assert offered("zoo train --set sched", "bash") == ["nospace", "schedule="]
    # one candidate alone would have readline close the quotation mark
    assert offered("zoo train --data 'mqar(pai", "bash") == ["nospace", "mqar(pairs=", "mqar(pairs=…"]


def test_zsh_gets_what_is_shown():
    (row,) = answer("zsh", "zoo train --mixer 'correlation, dot-pr", os.environ).splitlines()
    space, text, shown = row.split("\t")
    assert (space, text) == ("space", "correlation, dot-product")
    assert shown.startswith("dot-product  Each token")


def test_every_parameter_is_completed_or_takes_a_text_of_its_own():
    for name, command in typer.main.get_command(app).commands.items():
        for parameter in command.params:
            annotation = parameter.type_descriptor.annotation
            if annotation in (int, float) or (parameter.param_type_name == "option" and parameter.is_flag):
                continue
            known = {parameter.name, f"{name}.{parameter.name}"} & {*_SOURCES, *_SOURCES_OF_COMMANDS}
            assert known or annotation.__name__.endswith("Path") or parameter.name in FREE, (name, parameter.name)


def test_each_special_case_is_of_a_parameter_that_there_is():
    program = describe_program({})
    known = {f"{name}.{p['name']}" for name, of in program["commands"].items() for p in of["parameters"]}
    assert set(_SOURCES_OF_COMMANDS) <= known
    names = {place.partition(".")[2] for place in known} | {p["name"] for p in program["parameters"]}
    assert set(_SOURCES) <= names | set(Settings.model_fields)


def test_without_a_list_there_are_commands_and_flags(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "none"))
    assert offered("zoo tra") == ["train"]
    assert offered("zoo train --mi") == ["--mixer"]
    assert offered("zoo train --mixer corr") == []
    (tmp_path / "none").mkdir()
    for broken in ("", "{", "[]", '{"environment": 1}', "\0"):
        (tmp_path / "none" / "plugins.json").write_text(broken)
        assert offered("zoo train --mi") == ["--mixer"]


def test_a_list_of_before_a_distribution_was_installed_will_do(monkeypatch, tmp_path):
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    remember_plugins()
    os.utime(site, (1, 1))
    assert read_listing() is None
    assert offered("zoo train --mixer corr") == ["correlation"]
    monkeypatch.setenv("ZOO_PLUGINS", "other")  # other rules are another list
    assert offered("zoo train --mixer corr") == []


def test_the_list_is_written_again_only_if_something_changed(monkeypatch, tmp_path):
    from zoo.plugin import listing

    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    calls = []
    for sources, expected in (("1", 1), ("1", 1), ("2", 2)):
        listing.remember(get_registry(), sources=sources, describe=lambda: calls.append(1) or {})
        assert len(calls) == expected
    listing.remember(get_registry(), sources="3", describe=lambda: 1 / 0)
    assert read_listing().sources == "2"
    assert read_listing().members == listing_of(get_registry()).members


def test_commands_of_plugins_are_completed(distribution, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    distribution(
        "greeter",
        "import typer\nimport zoo\nfrom pathlib import Path\n"
        "def greet(run: Path, name: str = 'you') -> None:\n    '''Greet.'''\n"
        "many = typer.Typer()\n@many.command()\ndef one() -> None:\n    '''One.'''\n"
        "@many.command()\ndef two(mixer: str = '') -> None:\n    '''Two.'''\n"
        "@zoo.hookimpl\ndef zoo_commands(app):\n    app.command()(greet)\n    app.add_typer(many, name='greet-many')\n",
    )
    get_registry()
    remember_plugins()
    assert offered("zoo gre") == ["greet", "greet-many"]
    assert offered("zoo greet --na") == ["--name"]
    assert offered("zoo greet-many ") == ["one", "two"]
    assert offered("zoo greet-many two --mixer corr") == ["correlation"]


def test_the_scripts(zoo, monkeypatch):
    for shell, script in SCRIPTS.items():
        assert zoo("completion", shell).out == script
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert zoo("completion").out == SCRIPTS["zsh"]
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    wrong = zoo("completion")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err == "error: name a shell, of bash, zsh, fish: what SHELL='tcsh' reads is not known\n"
    wrong = zoo("completion", "bsh")
    assert wrong.err == "error: there is no script for 'bsh' (did you mean 'bash'?); there are: bash, zsh, fish\n"
    assert "to use it, write: eval" in zoo("completion", "bash", terminal=True).err


def ask(line, **environment):
    asked = {**os.environ, "_ZOO_COMPLETE": "fish", "_ZOO_LINE": line, **environment}
    return subprocess.run([sys.executable, "-m", "zoo"], env=asked, capture_output=True, text=True, check=False)


def test_a_process_imports_neither_torch_nor_typer_and_never_fails():
    code = (
        "import sys; from zoo.cli.completing.answer import respond; respond();"
        "print(set(sys.modules) & {'torch', 'typer', 'pydantic', 'rich', 'numpy', 'pluggy', 'mixers'})"
    )
    asked = {**os.environ, "_ZOO_COMPLETE": "fish", "_ZOO_LINE": "zoo train --mixer corr"}
    done = subprocess.run([sys.executable, "-c", code], env=asked, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("correlation\t")
    assert done.stdout.endswith("\nset()\n")
    for wrong in ("", "'", "zoo '", "zoo train --data /proc/1/fd/", "zoo train --set ="):
        done = ask(wrong)
        assert (done.returncode, done.stderr) == (0, "")
    done = ask("zoo tr", _ZOO_COMPLETE="nonsense")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_it_takes_a_moment():
    lines = [
        "zoo tr",
        "zoo train --",
        "zoo train --mixer corr",
        "zoo train --set a",
        "zoo generate ",
        "zoo check a --only ",
    ]
    for line in lines:
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            assert ask(line).returncode == 0
            seconds.append(time.perf_counter() - start)
        assert min(seconds) <= 0.3, line


@pytest.fixture
def program(tmp_path):
    """A folder with the program, for the path of a shell."""
    path = tmp_path / "bin" / "zoo"
    path.parent.mkdir()
    path.write_text(f"#!{sys.executable}\nfrom zoo.__main__ import main\nmain()\n")
    path.chmod(0o755)
    return {**os.environ, "PATH": f"{path.parent}{os.pathsep}{os.environ['PATH']}"}


BASH = """
source "$1"
COMP_LINE="$2" COMP_POINT=${#2} _zoo_completion zoo
for each in "${COMPREPLY[@]}"; do echo "$each"; done
complete -p zoo
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "replies"),
    [
        ("zoo train --mixer 'correlation*3, dot-pr", ["correlation*3, dot-product"]),
        ("zoo train --preset=nanogpt", ["nanogpt", "nanogpt-cpu"]),
        ("zoo nonsense ", []),
    ],
)
def test_bash(program, tmp_path, line, replies):
    script = tmp_path / "script"
    script.write_text(SCRIPTS["bash"])
    command = ["bash", "--norc", "-c", BASH, "bash", str(script), line]
    done = subprocess.run(command, env=program, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [*replies, "complete -F _zoo_completion zoo"]
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
def test_fish(program, tmp_path):
    script = tmp_path / "script"
    script.write_text(SCRIPTS["fish"])
    command = ["fish", "--no-config", "-c", f'source {script}; complete -C "zoo train --mixer \'correlation, dot-pr"']
    done = subprocess.run(command, env=program | {"HOME": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("correlation, dot-product\tEach token")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_the_script_of_zsh_can_be_read(program, tmp_path):
    command = ["zsh", "-f", "-c", 'eval "$(zoo completion zsh)"; print $_comps[zoo]']
    done = subprocess.run(command, env=program | {"HOME": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout == "_zoo\n"


def test_the_listing_is_plain_json(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    get_registry()
    remember_plugins()
    saved = json.loads((tmp_path / "plugins.json").read_text())
    assert saved["words"]["presets"]["quick"].startswith("about two minutes")
    assert saved["program"]["commands"]["train"]["help"].startswith("Train a model")
