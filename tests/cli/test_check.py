import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mixers
import zoo as package

SOURCE = '''
from torch.nn import functional as F
from zoo import TokenMixer


class Mine(TokenMixer):
    """Each token writes the mean of its neighbours."""

    paper = "unpublished"

    def forward(self, x):
        return (F.pad(x, (0, 0, 1, 0))[:, :-1] + F.pad(x, (0, 0, 0, 1))[:, 1:]) / 2


class Sound(TokenMixer):
    """Each token writes the sum of the reads so far."""

    paper = "unpublished"

    def forward(self, x):
        return x.cumsum(1)


class Leaps(TokenMixer):
    """Each token writes its read, or the next one.

    Options:
        ahead: whether it is the next one.
    """

    paper = "unpublished"

    def __init__(self, dim, *, ahead: bool = False):
        super().__init__()
        self.ahead = ahead

    def forward(self, x):
        return x.roll(-1, 1) if self.ahead else x
'''


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SOURCE)
    return "./mine.py:Mine"


@pytest.mark.slow
def test_a_leak_is_explained_in_a_line_with_the_command_that_shows_it_again(zoo, file):
    result = zoo("check", file, "--examples", 5)
    assert result.code == 3
    lines = result.out.splitlines()
    place = next(index for index, line in enumerate(lines) if line.startswith("failed") and " causality " in line)
    assert "write 0 depends on read 1 (b=1, t=2): |Δ| = " in lines[place]
    assert lines[place + 1].strip().startswith("Write t depends on the reads up to t only")
    assert lines[place + 2].strip() == f"again: zoo check {file} --only causality --examples 5"
    assert "failed" in result.err
    assert "begin with causality" in result.err


@pytest.mark.slow
def test_again_asks_the_one_law_and_finds_the_same(zoo, file):
    first = zoo("check", file, "--only", "causality", "--seed", 3, "--examples", 7)
    again = first.out.split("again: zoo ")[1].split()
    assert again == ["check", file, "--only", "causality", "--examples", "7", "--seed", "3"]
    second = zoo(*again)
    assert [line.split(" s ")[1] for line in second.out.splitlines()[:1]] == [
        line.split(" s ")[1] for line in first.out.splitlines()[:1]
    ]


@pytest.mark.slow
def test_a_sound_mixer(zoo, file):
    result = zoo("check", file.replace("Mine", "Sound"), "--examples", 3)
    assert result.code == 0
    assert "failed" not in result.out + result.err
    assert "passed" in result.err


@pytest.mark.slow
def test_as_json(zoo, file):
    result = zoo("check", file, "--only", "shape", "--only", "causality", "--json")
    assert result.code == 3
    told = json.loads(result.out)
    assert list(told) == ["kind", "member", "seed", "examples", "thorough", "strict", "laws"]
    assert [law["law"] for law in told["laws"]] == ["shape", "causality"]
    assert [law["status"] for law in told["laws"]] == ["passed", "failed"]
    for law in told["laws"]:
        assert list(law) == ["law", "grade", "status", "message", "counterexample", "seconds"]
        assert law["grade"] == "sound"
    assert told["laws"][1]["counterexample"]["t"] == 2


README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def of_the_readme(tmp_path, monkeypatch):
    """The README's mixer, as a file."""
    monkeypatch.chdir(tmp_path)
    page = README.read_text(encoding="utf-8")
    (tmp_path / "mine.py").write_text(page.split("```python\n")[1].split("```")[0])
    return "./mine.py"


@pytest.mark.parametrize("examples", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_the_readme_s_mixer_passes_with_two_lines_of_advice(zoo, of_the_readme, examples):
    skip = ["--skip", "checkpointing"] if examples == 1 else []  # which imports torch's compiler
    result = zoo("check", of_the_readme, "--examples", examples, *skip)
    assert result.code == 0
    assert "failed" not in result.out + result.err
    lines = result.out.splitlines()
    advice = [line for line in lines if line.startswith("advice")]
    assert len(advice) == 2
    assert lines[-3].startswith("Advice (results are right without it; --strict makes it count):")
    assert lines[-2:] == advice
    assert "the docstring has no equation" in advice[0]
    assert 'set `paper` to where it comes from, or to "unpublished"' in advice[1]
    assert "2 advice" in result.err


def test_with_strict_advice_counts_and_is_asked_again_so(zoo, of_the_readme):
    result = zoo("check", of_the_readme, "--only", "paper", "--strict")
    assert result.code == 3
    assert f"again: zoo check {of_the_readme} --only paper --strict" in result.out
    assert "Advice" not in result.out
    result = zoo("check", of_the_readme, "--only", "paper", "--json")
    assert result.code == 0
    (law,) = json.loads(result.out)["laws"]
    assert (law["grade"], law["status"]) == ("finish", "advice")


GATE = """
from zoo import ChannelMixer

class Gate(ChannelMixer):
    def forward(self, x):
        return x.cumsum(1)
"""


@pytest.mark.slow
def test_a_channel_mixer(zoo, file, tmp_path):
    result = zoo("check", "channel-mixer:mlp(expansion=2)", "--only", "token-wise", "--examples", 2)
    assert result.code == 0
    assert "passed   token-wise" in result.out
    (tmp_path / "gate.py").write_text(GATE)
    result = zoo("check", "channel-mixer:./gate.py:Gate", "--only", "token-wise")
    assert result.code == 3
    assert "when the token stands alone (b=1, t=2)" in result.out


SCHEME = """
from zoo import Residual

class Sums(Residual):
    def read(self, stream, site):
        return stream

    def write(self, stream, site, written):
        return (stream + written).cumsum(1)

    def close(self, stream):
        return stream
"""


@pytest.mark.parametrize(
    ("member", "law", "kind"),
    [
        ("residual:hyper-connections", "additive", "residual"),
        ("mhc(streams=2)", "shown", "residual"),
        ("muon", "learning-rate", "optimizer"),
        ("optimizer:sgd(momentum=0)", "determinism", "optimizer"),
        ("task:mqar", "examples", "task"),
        ("word-problem", "symbols", "task"),
        ("bpe", "round-trip", "tokenizer"),
        ("corpus:python-stdlib", "options-refused", "corpus"),
    ],
)
def test_members_of_other_kinds(zoo, member, law, kind):
    result = zoo("check", member, "--only", law, "--examples", 1, "--strict", "--json")
    assert result.code == 0
    told = json.loads(result.out)
    assert (told["kind"], told["member"]) == (kind, member)
    assert told["laws"][0]["status"] in ("passed", "skipped")


def test_a_residual_scheme_in_a_file(zoo, file, tmp_path):
    (tmp_path / "scheme.py").write_text(SCHEME)
    result = zoo("check", "./scheme.py:Sums", "--only", "token-wise", "--only", "documentation", "--examples", 5)
    assert result.code == 3
    assert "write 1 is another one when the token stands alone (b=1, t=2, roles=token+channel+token)" in result.out
    assert "again: zoo check ./scheme.py:Sums --only token-wise --examples 5" in result.out
    assert "advice   documentation        Sums has no docstring" in result.out


@pytest.mark.slow
def test_laws_are_left_out(zoo, file):
    asked = ["--only", "shape", "--only", "causality", "--only", "prefix"]
    result = zoo("check", file, *asked, "--skip", "shape", "--skip", "prefix", "--json")
    assert [law["law"] for law in json.loads(result.out)["laws"]] == ["causality"]


@pytest.mark.slow
@pytest.mark.parametrize(("ahead", "code"), [("false", 0), ("true", 3)])
def test_options_are_fixed(zoo, file, ahead, code):
    result = zoo("check", file.replace("Mine", "Leaps"), "--options", f"ahead={ahead}", "--only", "causality")
    assert result.code == code


@pytest.mark.slow
def test_options_beside_a_pattern_and_again(zoo):
    result = zoo("check", "dot-product(heads=2)", "--options", "window=1, rope=false", "--only", "causality")
    assert result.code == 0
    assert "causality" in result.out


@pytest.mark.slow
def test_a_whole_model(zoo):
    result = zoo("check", "dot-product, involution", "--only", "streaming", "--only", "extremes", "--examples", 2)
    assert result.code == 0
    assert "passed   streaming" in result.out
    assert "skipped  extremes" in result.out


@pytest.mark.slow
def test_it_leaves_nothing_behind(tmp_path):
    """Of modules that lie below the current folder Hypothesis notes what it has seen."""
    for module in (package, mixers):
        source = Path(module.__file__).parent
        shutil.copytree(source, tmp_path / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("HYPOTHESIS_STORAGE_DIRECTORY", None)
    command = [sys.executable, "-c", "from zoo.cli.main import main; main()", "check", "dot-product"]
    laws = ["--only", "options-round-trip", "--examples", "3"]
    before = set(tmp_path.rglob("*"))
    subprocess.run([*command, *laws], cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_on_a_terminal_it_is_coloured(zoo, file):
    result = zoo("check", file, "--only", "shape", terminal=True)
    assert "\x1b[" in result.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody"], "no mixer is named 'nobody'"),
        (["dot-product", "--only", "causalty"], "did you mean 'causality'"),
        (["channel-mixer:swiglo"], "no channel mixer is named 'swiglo' (did you mean 'swiglu'?)"),
        (["channel-mixer:mlp", "--only", "causality"], "no law of channel mixers is named 'causality'"),
        (["dot-product", "--examples", 0], "examples=0 should be 1 or more"),
        (["dot-product", "--options", "heads=("], "expected"),
        (["dot-product", "--options", "hats=2"], "has no option 'hats'"),
        (["dot-product", "--only", "shape", "--skip", "shape"], "no law is left to ask"),
        (["./gone.py:Mine"], "there is no plugin file"),
        (["dot-product,"], "expected"),
        (["residual:mch"], "no residual scheme is named 'mch' (did you mean 'mhc'?)"),
        (["muon", "--only", "causality"], "no law of optimizers is named 'causality'"),
        (["muon", "--options", "betas=2"], "muon has no option 'betas' (did you mean 'beta"),
        (["task:mqar(pairs=2)", "--options", "pairs=3"], "option 'pairs' is given twice"),
        (["task:mqar(pairs=0)"], "mqar(pairs=0) cannot be made: mqar: pairs=0 should be 1 or more; fix some"),
        (["residual:pre-norm(scale=lots)"], "pre-norm: option scale='lots' should be 'depth', 'none' or 'learned'"),
    ],
)
def test_mistakes(zoo, arguments, words):
    result = zoo("check", *arguments)
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert "Traceback" not in result.err
    assert words in result.err


def test_a_file_that_prints_and_changes_global_state_does_not_spoil_the_json(zoo, file, tmp_path):
    (tmp_path / "mine.py").write_text("import torch\nprint('compiling')\ntorch.manual_seed(40_213)\n" + SOURCE)
    result = zoo("check", "./mine.py:Sound", "--only", "shape", "--examples", 1, "--json")
    assert json.loads(result.out)["laws"][0]["status"] == "passed"
    assert "compiling" in result.err
    assert "mine.py changed global state when it was run, now restored: random numbers of torch" in result.err


def test_a_file_that_skips_itself_is_told_in_a_line(zoo, file, tmp_path):
    (tmp_path / "mine.py").write_text("import pytest\npytest.skip('no GPU', allow_module_level=True)\n" + SOURCE)
    result = zoo("check", "./mine.py:Sound")
    assert result.code == 2
    assert "mine.py fails in line 2: Skipped: no GPU" in result.err
