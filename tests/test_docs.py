"""What the pages show is run here, so that it stays true."""

import inspect
import re
from pathlib import Path

import pytest
import torch

import zoo
import zoo.plugin.registry
from zoo.model.create import create
from zoo.plugin import hookspecs
from zoo.plugin.kinds import KINDS, MIXER
from zoo.plugin.registry import Entry, Origin
from zoo.testing import check_mixer

ROOT = Path(__file__).parents[1]
WRITING = (ROOT / "docs" / "writing-a-mixer.md").read_text(encoding="utf-8")
API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def python_blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def given(source: str, name: str) -> type[zoo.TokenMixer]:
    """The class that the plugin's source hands over."""
    space: dict[str, object] = {}
    exec(source, space)
    return space["zoo_mixers"]()[name]


def built(source: str, name: str, **options: float) -> zoo.TokenMixer:
    """A mixer of that class."""
    cls = given(source, name)
    return create(Entry(name, cls, Origin("page", "1", name)), options, dim=8, heads=2, context=16).double()


@pytest.mark.slow
def test_the_readme_s_plugin_works_and_is_the_one_in_the_repository():
    source = python_blocks(README)[0]
    reads = torch.randn(2, 7, 8, dtype=torch.float64)
    mixer = built(source, "running-mean")
    torch.testing.assert_close(mixer(reads), zoo.create_mixer("running-mean", dim=8)(reads))
    assert broken_laws(given(source, "running-mean")) == []


def broken_laws(cls):
    return [result.law for result in check_mixer(cls, examples=3) if result.status == "failed"]


@pytest.mark.slow
def test_the_mixer_of_the_guide_keeps_the_laws_with_and_without_its_own_step():
    first, step = python_blocks(WRITING)[:2]
    reads = torch.randn(2, 7, 8, dtype=torch.float64)
    with_step = first.replace("\n\n@hookimpl", f"\n{step}\n\n@hookimpl", 1)
    for source in (first, with_step):
        mixer = built(source, "decaying-mean", decay=0.5)
        assert broken_laws(given(source, "decaying-mean")) == []
    mean, expected = torch.zeros(2, 8, dtype=torch.float64), []
    for read in mixer.project(reads).unbind(1):
        mean = 0.5 * mean + 0.5 * read
        expected.append(mean)
    torch.testing.assert_close(mixer(reads), torch.stack(expected, dim=1))
    with pytest.raises(zoo.ZooError, match=r"decay=1\.5"):
        built(first, "decaying-mean", decay=1.5)


def test_the_panel_of_the_guide_is_one():
    first, panels = (python_blocks(WRITING)[block] for block in (0, 3))
    source = "from zoo import Panel\n" + first.replace("\n\n@hookimpl", f"\n{panels}\n\n@hookimpl", 1)
    (panel,) = built(source, "decaying-mean", decay=0.5).panels(torch.zeros(1, 3, 8))
    assert panel.values.tolist() == [1, 0.5, 0.25]


def test_the_readme_s_models_build():
    source = python_blocks(README)[1]
    names = re.findall(r"(build_model\(.*\)|create_mixer\(.*\))", source)
    assert len(names) == 2
    for call in names:
        assert eval(f"zoo.{call}")
    for pattern in re.findall(r'--mixer "([^"]+)"', README):
        assert zoo.build_model(pattern, vocab_size=16, dim=32)


def test_the_page_of_plugins_lists_every_hook_and_kind():
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    hooks = [name for name, value in vars(hookspecs).items() if hasattr(value, "zoo_spec")]
    assert hooks
    for name in hooks:
        signature = inspect.signature(getattr(hookspecs, name))
        row = re.search(rf"^\| `{name}\(([^)]*)\)` \| `([^`]+)`", page, re.MULTILINE)
        assert row, f"docs/plugins.md does not list {name}"
        assert row[1] == ", ".join(signature.parameters)
        assert row[2] == str(signature.return_annotation).strip("'\"")
    for kind in KINDS:
        assert f"| `{kind.name}` | `{kind.base_name}` | `{kind.hook}()` |" in page


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A folder of its own for what a page writes, and the registry as it was."""
    monkeypatch.chdir(tmp_path)
    yield {"__name__": "__main__"}
    monkeypatch.undo()
    zoo.plugin.registry.forget()


def run_blocks(page, space):
    blocks = python_blocks(page)
    assert blocks
    for block in blocks:
        exec(block, space)


@pytest.mark.slow
def test_the_page_of_the_api_runs(session, tmp_path, capsys):
    quick, _ = API.split("## Compare")
    run_blocks(quick, session)
    said = capsys.readouterr().out
    assert re.search(r"^\d\.\d\d nats per token$", said, re.MULTILINE)
    assert "[('causality', 'passed'), ('streaming', 'passed')]" in said
    assert re.search(
        r"^Trained\('runs/first': validation loss \d\.\d+ nats per token after 5 steps\)$", said, re.MULTILINE
    )
    assert re.search(r"^Verdict\(mixer Decay: 2 passed, in \d+\.\d s\)$", said, re.MULTILINE)
    assert session["trained"].summary.steps == 6
    assert (tmp_path / "loss.png").is_file()
    assert said.count("def ") >= 1
    assert zoo.load_run(tmp_path / "runs" / "decay").step == 5


@pytest.mark.slow
def test_the_api_s_comparison_and_bench_run(session, tmp_path, capsys):
    _, slow = API.split("## Compare")
    run_blocks("```python\nimport zoo\n```\n" + slow, session)
    said = capsys.readouterr().out
    assert "one seed says nothing about chance" in said
    assert "plain sdpa" in said
    assert (tmp_path / "comparisons" / "first" / "report.html").is_file()
    assert {cell.length for cell in session["measured"].cells} == {32, 64}


def test_the_page_of_the_api_has_every_function():
    functions = {name for name in zoo.__all__ if name.islower()} - {"hookimpl"}
    assert [name for name in sorted(functions) if f"zoo.{name}(" not in API] == []


def test_links_between_pages_lead_somewhere():
    top = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for page in [*top, *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "plugins").glob("*/*.md"))]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_s_table_has_every_built_in():
    entries = zoo.plugin.registry.get_registry()[MIXER].entries
    built_in = {entry.name for entry in entries if entry.origin.distribution == "mixer-zoo"}
    table = README.split("\n## The mixers\n")[1].split("\n\n`correlation` at")[0]
    named = {name for row in table.splitlines() if row.count("|") > 3 for name in re.findall(r"`([a-z0-9-]+)`", row)}
    assert named == built_in
