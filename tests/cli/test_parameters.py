"""The library names parameters; the command line writes the flags of the command that runs."""

import pytest
import typer

from zoo.cli.main import app
from zoo.cli.parameters import flags_of, use_flags_of, with_flags
from zoo.errors import UsageError
from zoo.lab.bench.request import Request

COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize(
    ("command", "text", "written"),
    [
        ("compare", "`jobs`=300 should be from 1 to 256", "--jobs 300 should be from 1 to 256"),
        ("compare", "choose another `out`", "choose another --out"),
        ("compare", "`min_effect`='x' should read", "--min-effect 'x' should read"),
        ("train", "write `optimizer`='adamw(beta1=0.8)'", "write --optimizer 'adamw(beta1=0.8)'"),
        ("train", "`assignments`='lr' should read `assignments`=key=value", "--set 'lr' should read --set key=value"),
        ("train", "try `compile`, and go on with `allow_changed`", "try --compile, and go on with --allow-changed"),
        ("bench", "`patterns`: give at least one of `kinds`", "PATTERN: give at least one of --what"),
        # a setting without a flag of its own
        ("train", "a longer `warmup`, or `warmup`=9", "a longer --set warmup, or --set warmup=9"),
        ("compare", "a `context` below 9", "a --set context below 9"),
        ("train", "a `context` below 9", "a --context below 9"),
        # no parameter of the command
        ("inspect", "a longer `warmup`", "a longer `warmup`"),
        ("train", "`forward` takes `x`; see `zoo train --resume latest`", None),
    ],
)
def test_parameters_are_written_as_flags_of_the_command(command, text, written):
    use_flags_of(COMMANDS[command])
    assert with_flags(text) == (text if written is None else written)


def test_every_option_of_every_command_has_its_flag():
    for command in COMMANDS.values():
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert flags_of(command)[parameter.name] in parameter.opts


def test_python_reads_parameters():
    with pytest.raises(UsageError, match=r"^`dim`=100 cannot be shared out among `heads`=3: choose a multiple$"):
        Request(patterns=("dot-product",), dim=100, heads=3)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["bench", "dot-product", "--dim", 100, "--heads", 3], "--dim 100 cannot be shared out among --heads 3"),
        (["bench", "dot-product", "--what", "trian"], "--what 'trian': nothing of that name is measured"),
        (["bench", "dot-product", "dot-product"], "PATTERN: dot-product is given 2 times"),
        (["compare", "dot-product", "--jobs", 300], "--jobs 300 should be from 1 to 256"),
        (["compare", "dot-product", "--set", "seed=3"], "the setting seed is not for a comparison: write --seeds"),
        (["compare", "dot-product", "--match", "parms"], "--match 'parms' should be one of"),
        (["train", "--set", "steps"], "--set 'steps' should read --set key=value"),
        (
            ["train", "--set", "beta1=0.8"],
            "--set beta1=0.8: beta1 is an option of the optimizer, write --optimizer 'adamw",
        ),
        (["train", "--data", "mqar", "--tokenizer", "byte"], "leave out --tokenizer"),
    ],
)
def test_the_command_line_reads_flags(zoo, arguments, line):
    result = zoo(*arguments)
    assert result.code == 2
    assert line in result.err
    assert "`" not in result.err


@pytest.mark.slow
def test_the_text_of_a_plugin_is_left_alone(zoo, distribution):
    distribution(
        "acme-mixers",
        "import zoo\n\n\nclass Bad(zoo.TokenMixer):\n    def __init__(self, dim):\n        super().__init__()\n"
        "        raise RuntimeError('`lr` is missing')\n\n    def forward(self, x):\n        return x\n\n\n"
        "@zoo.hookimpl\ndef zoo_mixers():\n    return {'bad': Bad}\n",
    )
    assert "`lr` is missing" in zoo("train", "--mixer", "bad", "--dry-run").err
