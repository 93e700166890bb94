"""``zoo new-plugin`` writes distributions that work as they are."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from zoo.plugin import kinds
from zoo.plugin.kinds import EXECUTOR, HYBRID, KINDS, MIXER, REPORTER, TASK, Kind
from zoo.plugin.registry import forget, get_registry
from zoo.scaffold.names import check_free
from zoo.scaffold.rendering import render
from zoo.testing import check_member

from ..distributions import install_folder  # noqa: TID252 - pytest finds the parts of the tests by where they are

ROOT = Path(__file__).parents[2]
NAMES = [kind.name for kind in KINDS]


def own_name(kind):
    return f"first-{kind.name}"


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def written(tmp_path_factory, zoo):
    """A distribution of every kind, in one folder."""
    folder = tmp_path_factory.mktemp("written")
    for kind in KINDS:
        result = zoo("new-plugin", own_name(kind), "--kind", kind.name, "--dir", folder)
        assert result.code == 0, result.err
    return folder


@pytest.fixture(scope="module")
def installed(written):
    """All of them beside the built-in one; gives the folder with their packages."""
    site = written / "site"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("ZOO_PLUGINS", ",".join(map(own_name, KINDS)))
        before = set(sys.modules)
        for kind in KINDS:
            install_folder(site, written / own_name(kind))
        forget()
        yield site
        for module in set(sys.modules) - before:
            if module.startswith("first_"):
                del sys.modules[module]
    forget()


def member_of(kind):
    entry = get_registry()[kind].find(own_name(kind))
    assert entry.origin.distribution == own_name(kind)
    return entry


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_the_member_is_found_through_its_entry_point_and_documented(installed, kind):
    assert get_registry().broken == ()
    entry = member_of(kind)
    assert Path(entry.origin.file) == installed / f"first_{kind.name.replace('-', '_')}" / "plugin.py"
    assert entry.paper == ("" if kind in (EXECUTOR, REPORTER) else "unpublished")
    assert entry.options
    assert all(option.meaning for option in entry.options)
    assert "\n    " in entry.doc


QUICK = ["documentation", "options-refused", "options-round-trip"]


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_the_member_refuses_what_cannot_be(installed, kind):
    results = check_member(kind.name, own_name(kind), only=QUICK, examples=2, strict=True)
    assert [result.status for result in results] == ["passed"] * len(QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_the_member_keeps_every_law(installed, kind):
    results = check_member(kind.name, own_name(kind), examples=5, strict=True)
    assert {result.law: result.message for result in results if result.status == "failed"} == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not EXECUTOR], ids=str)
def test_it_trains_as_the_last_line_says(zoo, installed, kind, tiny, place):
    _, command, *use = render(own_name(kind), kind).use.split()
    of_texts = {"--data", "--tokenizer", "--context"} if kind is TASK else set()  # a task brings its own
    flags = [word for pair in zip(tiny[::2], tiny[1::2], strict=True) if pair[0] not in of_texts for word in pair]
    result = zoo(command, *flags, *use, "--out", "run", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["steps"] == 3
    saved = json.loads((place / "run" / ("env.json" if kind is REPORTER else "config.json")).read_text())
    assert own_name(kind) in str(saved) or kind is HYBRID  # of which a run holds the pattern


@pytest.mark.slow
def test_the_tests_of_each_ask_the_laws_of_its_kind(written, installed, tmp_path):
    """The quick laws only: the others are asked above, and by .ci/run."""
    tests = [shutil.copytree(written / own_name(kind) / "tests", tmp_path / kind.name) for kind in KINDS]
    paths = [str(installed), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-k", " or ".join(QUICK), "--import-mode=importlib", *tests],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    for kind in KINDS:
        for law in QUICK:
            assert f"test_laws[{own_name(kind)}-{law}] PASSED" in done.stdout


def test_the_metadata_are_those_of_the_host(written):
    host = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for kind in KINDS:
        project = tomllib.loads((written / own_name(kind) / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert project["dependencies"] == [f"mixer-zoo>={version('mixer-zoo')}"]
        assert project["optional-dependencies"] == {"test": ["mixer-zoo[testing]"]}
        assert (project["requires-python"], project["license"]) == (host["requires-python"], host["license"])
        assert project["description"] == f"The {kind} {project['name']} for the mixer zoo"


def test_every_file_is_there_and_formatted(written):
    for kind in KINDS:
        package = f"src/first_{kind.name.replace('-', '_')}"
        folder = written / own_name(kind)
        assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
            ".github/workflows/test.yml", ".gitignore", "README.md", "pyproject.toml", f"{package}/__init__.py",
            *sorted([f"{package}/plugin.py", f"{package}/{package.removeprefix('src/first_')}.py"]),
            "tests/test_laws.py",
        ]  # fmt: skip
        assert [path for path in folder.rglob("*.*") if path.is_file() and re.search(r"\{[{%]", path.read_text())] == []
    for command in (["check", "--select", "E,F,I,B,UP,RUF"], ["format", "--check"]):
        names = map(own_name, KINDS)
        ruff = [Path(sys.executable).with_name("ruff"), *command, "--isolated", "--no-cache", *names]
        done = subprocess.run(ruff, cwd=written, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_it_says_what_to_type_next(zoo, place):
    result = zoo("new-plugin", "half-mean", "--dir", ".")
    assert (result.code, result.err) == (0, "")
    for line in [
        "edit     half-mean/src/half_mean/mixer.py",
        "install  cd half-mean && pip install -e '.[test]'",
        "test     pytest",
        "check    zoo check mixer:half-mean --strict",
        "use      zoo train --mixer half-mean",
    ]:
        assert line in result.out.splitlines()


def test_the_json_has_all_of_it(zoo, place):
    (place / "my code").mkdir()
    told = json.loads(zoo("new-plugin", "half", "--kind", "channel_mixers", "--dir", "my code", "--json").out)
    folder = place / told["folder"]
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert told == {
        "name": "half",
        "kind": "channel-mixer",
        "folder": "my code/half",
        "files": files,
        "member": "src/half/channel_mixer.py",
        "next": [
            "cd 'my code/half' && pip install -e '.[test]'",
            "pytest",
            "zoo check channel-mixer:half --strict",
            "zoo train --channel-mixer half",
        ],
    }
    for field in told:
        assert f"`{field}`" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8").split("## zoo new-plugin")[1]


SPELLING = "is no name for a mixer: use lower-case letters, digits and '-', with a letter first"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Half"], f"NAME 'Half' {SPELLING}"),
        (["half_mean"], f"NAME 'half_mean' {SPELLING}"),
        (["../half"], f"NAME '../half' {SPELLING}"),
        (["2nd"], f"NAME '2nd' {SPELLING}"),
        (["half-"], f"NAME 'half-' {SPELLING}"),
        ([""], f"NAME '' {SPELLING}"),
        (["dot-product"], "NAME 'dot-product' is the mixer of mixer-zoo"),
        (["mqar", "--kind", "task"], "NAME 'mqar' is the task of mixer-zoo"),
        (["mqar", "--kind", "corpus"], "NAME 'mqar' is the task of mixer-zoo"),
        (["dot-product", "--kind", "hybrid"], "NAME 'dot-product' is the mixer of mixer-zoo"),
        (["class"], "NAME 'class' is a word of Python's: choose another one"),
        (["value-error"], "NAME 'value-error' is a word of Python's: choose another one"),
        (["none"], "NAME 'none' is a word of Python's: choose another one"),
        (["torch"], "NAME 'torch' is an installed package: choose another one"),
        (["mixer-zoo"], "NAME 'mixer-zoo' is an installed package: choose another one"),
        (["half", "--kind", "mixr"], "there is no kind 'mixr' (did you mean 'mixer'?)"),
        (["taken"], "taken exists: choose another name, or another place with --dir"),
        (["file"], "file exists: choose another name, or another place with --dir"),
        (["link"], "link exists: choose another name, or another place with --dir"),
        (["half", "--dir", "nowhere"], "cannot make the folder nowhere/half: No such file or directory; choose"),
        (["half", "--dir", "file"], "cannot make the folder file/half: Not a directory; choose another place with"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line_and_nothing_is_written(zoo, place, arguments, words):
    (place / "taken").mkdir()
    (place / "file").write_text("mine")
    (place / "link").symlink_to("gone")
    before = sorted(place.rglob("*"))
    result = zoo("new-plugin", *arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"error: {words}")
    assert result.err.count("\n") == 1
    assert sorted(place.rglob("*")) == before
    assert (place / "file").read_text() == "mine"


def test_a_name_of_another_kind_is_free(place):
    check_free("dot-product", TASK, get_registry())
    check_free("swiglu", MIXER, get_registry())


def test_a_kind_without_a_template_is_refused(zoo, place, monkeypatch):
    monkeypatch.setattr(kinds, "KINDS", (*KINDS, Kind("mixture", "mixtures", "zoo.task:Task")))
    monkeypatch.setattr("zoo.scaffold.distribution.check_free", lambda *_: None)
    result = zoo("new-plugin", "half", "--kind", "mixture")
    assert (result.code, result.err) == (2, "error: there is no template for mixtures\n")
    assert list(place.iterdir()) == []


def test_a_full_disk_leaves_nothing(zoo, place, monkeypatch):
    def fail(path, text, **_):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", fail)
    result = zoo("new-plugin", "half")
    assert result.code == 1
    assert "No space left on device" in result.err
    assert list(place.iterdir()) == []
