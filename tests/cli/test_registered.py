import json
import re
import tomllib

import pytest

from zoo.plugin.registry import forget

GOOD = """
    from zoo import TokenMixer, hookimpl

    class Copy(TokenMixer):
        "Each token writes its read."

        paper = "nobody 2025"

        def __init__(self, dim: int, *, share: float = 1.0, must: int):
            super().__init__()

        def forward(self, x):
            return x

    @hookimpl
    def zoo_mixers():
        return {"copier": Copy, "copier-2": Copy}
"""
FIELDS = ["distribution", "version", "entry_point", "file", "gives", "commands", "status", "error", "traceback"]
FIELDS += ["changed_global_state"]
BROKEN = "raise RuntimeError('out of order')"


@pytest.fixture
def empty(monkeypatch):
    """No plugin is allowed, the built-in one neither."""
    monkeypatch.setenv("ZOO_BLOCK_PLUGINS", "mixer-zoo")
    forget()
    yield
    monkeypatch.undo()
    forget()


def test_list_as_json(zoo):
    mixers = json.loads(zoo("list", "--json").out)
    names = [mixer["name"] for mixer in mixers]
    assert {"correlation", "dot-product", "involution"} <= set(names)
    assert names.index("mamba1") < names.index("rwkv6") < names.index("rwkv-channel")  # in natural order
    for mixer in mixers:
        assert list(mixer) == ["name", "kind", "summary", "paper", "options", "origin"]
        assert list(mixer["origin"]) == ["distribution", "version", "entry_point"]
        assert mixer["summary"].endswith(".")
        for option in mixer["options"]:
            assert list(option) == ["name", "type", "default", "required", "meaning"]
            assert option["meaning"], f"{mixer['name']}: {option['name']} has no meaning in the docstring"


def test_list_is_a_line_a_mixer_off_a_terminal(zoo):
    head, *lines = zoo("list", "*o*").out.splitlines()
    assert head.split() == ["name", "summary", "paper", "from"]
    assert {line.split()[0] for line in lines} == {name for name in _names(zoo) if "o" in name}
    assert zoo("list", "dot*").out.splitlines()[1].startswith("dot-product  Each token")
    assert all(line == line.rstrip() for line in lines)


def test_list_fits_a_terminal(zoo, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    lines = re.sub(r"\x1b\[[\d;]*m", "", zoo("list", terminal=True).out).splitlines()
    assert max(map(len, lines)) <= 60
    assert len(lines) > len(_names(zoo)) + 1
    assert any("correlation" in line for line in lines)


def test_list_without_a_match(zoo):
    result = zoo("list", "nonsense*")
    assert (result.code, result.out) == (0, "")
    assert "no mixer matches 'nonsense*'" in result.err
    assert json.loads(zoo("list", "nonsense*", "--json").out) == []


@pytest.mark.usefixtures("empty")
def test_an_empty_registry_works_and_says_what_to_do(zoo):
    result = zoo("list")
    assert (result.code, result.out) == (0, "")
    assert "no mixer is registered" in result.err
    assert zoo("list", "--json").out == "[]\n"
    plugins = zoo("plugins")
    assert (plugins.code, plugins.out) == (0, "")
    assert "ZOO_BLOCK_PLUGINS" in plugins.err


def test_plugins(zoo, distribution):
    distribution("good-mixers", GOOD)
    head, *lines = zoo("plugins").out.splitlines()
    assert head.split() == ["distribution", "version", "entry", "point", "gives", "status"]
    assert lines[0].split() == ["good-mixers", "1.2", "good-mixers", "copier,", "copier-2", "ok"]
    assert lines[1].startswith("mixer-zoo")
    assert zoo("plugins").code == 0


def test_a_broken_plugin_is_shown_and_harms_nobody(zoo, distribution):
    distribution("bad-mixers", BROKEN)
    shown = zoo("plugins")
    assert shown.code == 4
    assert "broken: RuntimeError: out of order" in shown.out
    assert "Traceback" not in shown.out + shown.err
    assert "\x1b[31m" in zoo("plugins", terminal=True).out
    listed = zoo("list", "--json")
    assert listed.code == 0
    assert json.loads(listed.out)
    assert (
        listed.err == "note: not loaded, because broken: bad-mixers 1.2 (entry point 'bad-mixers'); see: zoo plugins\n"
    )
    asked = zoo("info", "bad-mixers:copier")
    assert asked.code == 4
    assert "broken: RuntimeError: out of order" in asked.err


PRINTS = """
    import os

    import torch

    torch.set_default_dtype(torch.float64)
    print("compiling")
    os.system("echo kernels")
""" + GOOD.replace("super().__init__()", "super().__init__(); print('built')").replace(
    "return x\n", "print('run'); return x\n"
)


def test_a_plugin_that_changes_global_state_is_shown_and_works(zoo, distribution):
    distribution("loud-mixers", PRINTS)
    shown = zoo("plugins")
    assert shown.code == 0
    change = "default dtype (torch.float32 to torch.float64)"
    line = next(line for line in shown.out.splitlines() if line.startswith("loud-mixers"))
    assert line.endswith(f"ok; its import changed global state, now restored: {change}")
    loud, *others = json.loads(zoo("plugins", "--json").out)
    assert (loud["status"], loud["changed_global_state"]) == ("ok", [change])
    assert {tuple(plugin["changed_global_state"]) for plugin in others} == {()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["plugins"],
        ["list"],
        ["info", "copier(must=1)", "--dim", 8],
        ["check", "copier(must=1)", "--only", "shape", "--examples", 1],
        ["train", "--mixer", "copier(must=1)", "--dry-run"],
        ["compare", "copier(must=1)", "dot-product", "--dry-run"],
    ],
    ids=lambda command: command[0],
)
def test_stdout_is_one_json_value_whatever_a_plugin_prints(zoo, distribution, text_file, capfd, command):
    distribution("loud-mixers", PRINTS)
    data = ["--data", text_file] if "--dry-run" in command else []
    result = zoo(*command, *data, "--json")
    json.loads(result.out)
    assert "compiling" in result.err
    assert capfd.readouterr() == ("", "kernels\n")


def test_the_settings_of_a_dry_run_are_toml_whatever_a_plugin_prints(zoo, distribution, text_file):
    distribution("loud-mixers", PRINTS)
    result = zoo("train", "--mixer", "copier(must=1)", "--data", text_file, "--dry-run")
    assert tomllib.loads(result.out)["mixer"] == "copier(must=1)"
    assert "built" in result.err


@pytest.mark.parametrize("error", ["SystemExit(0)", "asyncio.CancelledError()", "pytest.skip.Exception('no GPU')"])
def test_a_mixer_that_raises_what_is_no_exception_does_not_end_the_command(zoo, distribution, error):
    distribution("bad-mixers", GOOD.replace("super().__init__()", f"import asyncio, pytest; raise {error}"))
    result = zoo("info", "copier(must=1)")
    assert result.code == 4
    assert "copier, from bad-mixers 1.2 (entry point 'bad-mixers'), failed to build: " in result.err


def test_plugins_as_json_have_tracebacks(zoo, distribution):
    distribution("bad-mixers", BROKEN)
    result = zoo("plugins", "--json")
    assert result.code == 4
    bad, *own = json.loads(result.out)
    own = {plugin["entry_point"]: plugin for plugin in own}
    built_in, channel_mixers, tasks = own["built-in"], own["channel-mixers"], own["tasks"]
    assert list(bad) == FIELDS
    assert (bad["distribution"], bad["status"], bad["gives"]) == ("bad-mixers", "broken", {})
    assert bad["traceback"].startswith("Traceback")
    assert (built_in["status"], built_in["error"]) == ("ok", None)
    assert "dot-product" in built_in["gives"]["mixer"]
    assert channel_mixers["gives"] == {"channel-mixer": ["swiglu", "geglu", "mlp", "relu2", "none"]}
    assert (tasks["entry_point"], list(tasks["gives"])) == ("tasks", ["task"])


@pytest.mark.slow
def test_info(zoo):
    result = zoo("info", "dot-product(window=4)", "--dim", 32, "--heads", 2)
    assert result.code == 0
    text = result.out
    assert text.startswith("dot-product(window=4)\nEach token reads")
    assert "\n    y_t = sum_s" in text
    assert "parameters  4,096, at dim=32, heads=2" in text
    assert "numbers a sequence after 1 / 64 / 1,024 tokens" in text
    assert "dot_product.py" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["option", "type", "default", "meaning"] in rows
    assert any(row[:6] == ["heads", "int", "from", "the", "model", "query"] for row in rows)
    assert "`" not in text
    assert "\x1b" not in text


@pytest.mark.slow
def test_info_as_json(zoo):
    told = json.loads(zoo("info", "involution(kernel_size=3)", "--dim", 32, "--json").out)
    assert told["call"] == "involution(kernel_size=3)"
    assert (told["dim"], told["heads"], told["causal"]) == (32, None, True)
    assert told["state"] == {"1": 64, "64": 64, "1024": 64}
    assert told["parameters"] == told["active_parameters"] > 0
    assert told["origin"]["file"].endswith("involution.py")
    for part in ("equation", "text", "cost", "errors", "source"):
        assert told[part], part


def test_info_of_a_mixer_with_a_required_option(zoo, distribution):
    distribution("good-mixers", GOOD)
    missing = zoo("info", "copier")
    assert missing.code == 2
    assert "copier needs a value for its option 'must'" in missing.err
    text = zoo("info", "copier(must=1)", "--dim", 8).out
    assert ["must", "int", "required"] in [line.split() for line in text.splitlines()]
    assert "state       8 / 512 / 8,192 numbers" in text


def _names(zoo):
    return [mixer["name"] for mixer in json.loads(zoo("list", "--json").out)]


TYPES = """
    import enum
    import pathlib
    from collections.abc import Callable
    from typing import TypeVar

    from zoo import TokenMixer, hookimpl

    class Kind(enum.Enum):
        SOFT = "soft"
        HARD = "hard"

    class Types(TokenMixer):
        def __init__(
            self,
            pair: tuple[int, int] | None = None,
            triple: tuple[int, int, int] = (1, 2, 3),
            kind: Kind = Kind.SOFT,
            file: pathlib.Path = pathlib.Path("x"),
            ceiling: float = float("inf"),
            made: TypeVar("T") | None = None,
            ready: Callable[..., int] | None = None,
            other: object() = (1, [2]),
        ):
            super().__init__()

        def forward(self, x):
            return x.cumsum(1)

    @hookimpl
    def zoo_mixers():
        return {"types": Types}
"""


@pytest.mark.slow
def test_info_shows_options_of_any_type(zoo, distribution):
    distribution("acme-types", TYPES)
    result = zoo("info", "types(pair=(8, 9), kind=hard, file='a/b')")
    assert result.code == 0, result.err
    shown = [" ".join(line.split()) for line in result.out.splitlines()]
    assert "pair tuple[int, int] | None None" in shown
    assert "triple tuple[int, int, int] (1, 2, 3)" in shown
    assert "kind soft | hard soft" in shown
    assert "file Path x" in shown
    assert "ceiling float inf" in shown
    told = json.loads(zoo("info", "types", "--json").out, parse_constant=pytest.fail)
    assert {o["name"]: o["default"] for o in told["options"]} == {
        "pair": None, "triple": [1, 2, 3], "kind": "soft", "file": "x", "ceiling": "inf", "made": None, "ready": None,
        "other": [1, [2]],
    }  # fmt: skip
    for given, refusal in {
        "kind=firm": "option kind='firm' should be 'soft' or 'hard'",
        "pair=(8,)": "option pair=(8,) should have 2 values, not 1",
    }.items():
        result = zoo("info", f"types({given})")
        assert (result.code, result.err) == (2, f"error: types: {refusal}\n")
