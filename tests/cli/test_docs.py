import json
import re
from pathlib import Path

import pytest
import typer

from zoo.cli.main import app

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
GROUP = typer.main.get_command(app)
SECTIONS = dict(re.findall(r"^## zoo ([\w -]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def flags(command):
    return {flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")}


def test_every_command_has_a_section():
    assert list(SECTIONS) == list(GROUP.commands)
    for name in GROUP.commands:
        assert f"zoo {name} " in PAGE.split("## Exit codes")[0]


@pytest.mark.parametrize("name", list(GROUP.commands))
def test_every_flag_is_told_and_no_other(name):
    own = flags(GROUP.commands[name])
    rows = set(re.findall(r"^\| `(--[\w-]+)", SECTIONS[name], re.MULTILINE))
    of_itself = re.sub(rf"`zoo (?!{name}\b)[^`]*`", "", SECTIONS[name])  # without what it says of other commands
    told = set(re.findall(r"--[a-z][\w-]*", of_itself))
    assert rows == (set() if own == {"--json"} else own)
    opposites = {flag for parameter in GROUP.commands[name].params for flag in parameter.secondary_opts}
    assert own | opposites <= told <= own | opposites | {"--data", "--help"}


def test_the_global_flags_are_told():
    for flag in {"--debug", "--version", "--help"} | flags(GROUP):
        assert f"zoo {flag}" in PAGE or f"COMMAND {flag}" in PAGE


def test_the_train_command_has_the_agreed_flags():
    agreed = """--mixer --channel-mixer --residual --layers --dim --heads --context --batch --steps --lr
        --optimizer --data --tokenizer --documents --objective --seed --from --out --resume --continue --preset
        --config --set --device --precision --compile --max-time --report --dry-run --json --allow-changed"""
    assert flags(GROUP.commands["train"]) == set(agreed.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("list", ["list"]),
        ("info", ["info", "dot-product"]),
        ("tasks", ["tasks", "parity"]),
        ("plugins", ["plugins"]),
    ],
)
def test_the_fields_of_the_json_are_told(zoo, name, arguments):
    told = json.loads(zoo(*arguments, "--json").out)
    for field in told[0] if isinstance(told, list) else told:
        assert f"`{field}`" in SECTIONS[name] + SECTIONS["list"]


def test_every_exit_code_is_told():
    assert re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE) == ["0", "1", "2", "3", "4", "130"]
