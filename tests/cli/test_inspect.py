import json
import re
import shutil
import threading

import pytest

from zoo.plugin.registry import forget
from zoo.train.run_directory import RunDirectory

from .test_docs import SECTIONS

LOUD = """
    import torch
    from zoo import Panel, TokenMixer, hookimpl

    class Loud(TokenMixer):
        def forward(self, x):
            return x.cumsum(1)

        def panels(self, x):
            {panels}

    @hookimpl
    def zoo_mixers():
        return {{"loud": Loud}}
"""


def inspected(zoo, run, *arguments):
    """The JSON of an inspection that succeeds, and what was said beside it."""
    result = zoo("inspect", run, "--device", "cpu", "--tokens", 64, "--json", *arguments)
    assert result.code == 0, result.err
    return json.loads(result.out), result.err


def train(zoo, tiny, out, mixer):
    arguments = [mixer if value == "dot-product" else value for value in tiny]
    result = zoo("train", *arguments, "--out", out)
    assert result.code == 0, result.err
    return out


@pytest.mark.slow
def test_a_table_and_the_report(zoo, trained):
    result = zoo("inspect", trained, "--device", "cpu", "--tokens", 64)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0].split("  ")[0] == "part"
    assert [line.split()[0] for line in lines[1:3]] == ["0.dot-product", "0.channel"]
    assert lines[3].startswith("whole model")
    assert lines[-1].split() == ["report", str(trained / "report.html")]
    page = (trained / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 1 + 4
    assert "<h2>Inspection</h2>" in page
    for row in lines[1:3]:
        for cell in row.split():
            assert f">{cell}<" in page


@pytest.mark.slow
def test_the_json_is_what_lies_in_the_folder(zoo, trained):
    table, err = inspected(zoo, trained)
    assert err == ""
    folder = trained / "inspection"
    assert json.loads((folder / "inspection.json").read_text()) == {k: v for k, v in table.items() if k != "report"}
    pictures = {f"{panel['picture']}.{ending}" for panel in table["panels"] for ending in ("svg", "png")}
    assert {file.name for file in folder.iterdir()} == pictures | {"inspection.json"}
    assert table["tokens"] == 64
    for part in table["parts"]:
        assert part["difference"] == pytest.approx(part["loss_without"] - table["loss"], abs=1e-4)
        assert len(part["share_by_position"]) == 16
    assert [panel["part"] for panel in table["panels"]] == [None, None, None, "0.dot-product"]
    for field in [*table, *table["parts"][0], *table["panels"][0]]:
        assert f"`{field}`" in SECTIONS["inspect"]


@pytest.mark.slow
def test_a_second_inspection_replaces_its_own_pictures_and_nothing_else(zoo, trained):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file() and path.name != "report.html"}
    first, _ = inspected(zoo, trained)
    folder = trained / "inspection"
    made = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "mine.svg").write_text("mine")
    index = json.loads((folder / "inspection.json").read_text())
    index["panels"].append(index["panels"][0] | {"picture": "99-gone"})
    index["panels"].append(index["panels"][0] | {"picture": "../config"})
    (folder / "inspection.json").write_text(json.dumps(index))
    (folder / "99-gone.png").write_text("left by an earlier inspection")
    second, _ = inspected(zoo, trained)
    assert second == first
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == made | {"mine.svg": b"mine"}
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
def test_a_run_that_has_not_ended_has_a_report_too(zoo, trained):
    for name in ("summary.json", "report.html"):
        (trained / name).unlink()
    inspected(zoo, trained)
    page = (trained / "report.html").read_text(encoding="utf-8")
    assert "<h2>Inspection</h2>" in page
    assert "<dd>3<small>steps</small>" in page
    assert "<dd>n/a<small>bits per byte</small>" in page
    loss = RunDirectory(trained).metrics()[-1]["train_loss"]
    assert f"<dd>{loss:.4f}<small>" in page


@pytest.mark.slow
def test_panels_that_fail_are_told_and_stop_nothing(zoo, tiny, tmp_path, distribution):
    line = LOUD.split("{panels}", maxsplit=1)[0].count("\n") + 1
    error = f"RuntimeError: <script>no</script>, in {tmp_path / 'site' / 'acme_mixers.py'}:{line}"
    distribution("acme-mixers", LOUD.format(panels="raise RuntimeError('<script>no</script>')"))
    table, err = inspected(zoo, train(zoo, tiny, tmp_path / "loud", "loud"))
    assert table["failures"] == [
        {"part": "0.loud", "mixer": "loud", "distribution": "acme-mixers", "error": error},
    ]
    assert err == f"note: 0.loud: the panels of loud, from acme-mixers, failed: {error}\n"
    page = (tmp_path / "loud" / "report.html").read_text(encoding="utf-8")
    assert "The panels of loud, from acme-mixers, failed: RuntimeError: &lt;script&gt;no" in page
    assert "<script>" not in page
    assert len(table["panels"]) == 3


@pytest.mark.slow
def test_a_panel_that_cannot_be_drawn_is_told_too(zoo, tiny, tmp_path, distribution):
    panels = "return [Panel('a', 'b', torch.ones(1), 'c', (None,))]"
    distribution("acme-mixers", LOUD.format(panels=panels))
    table, err = inspected(zoo, train(zoo, tiny, tmp_path / "loud", "loud"))
    assert [failure["part"] for failure in table["failures"]] == ["0.loud"]
    assert "the panels of loud, from acme-mixers, failed: TypeError" in err
    assert len(table["panels"]) == 3


@pytest.mark.slow
def test_texts_of_a_mixer_are_texts_in_the_report(zoo, tiny, tmp_path, distribution):
    hostile = "<script>alert(1)</script> $\\\\frac{$ --> \\x00 \\u2603"
    panels = f"t = '{hostile}'; return [Panel(t, t, torch.tensor([1.0, float('nan')]), t, (t,), ((t, t),))]"
    distribution("acme-mixers", LOUD.format(panels=panels))
    table, err = inspected(zoo, train(zoo, tiny, tmp_path / "loud", "loud"))
    assert (table["failures"], err) == ([], "")
    assert table["panels"][-1]["values"] == [1.0, None]
    page = (tmp_path / "loud" / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in re.sub(r"<!--.*?-->", "", page, flags=re.DOTALL)


@pytest.mark.slow
def test_a_mixer_that_never_heard_of_it_is_inspected(zoo, tiny, tmp_path, monkeypatch):

    monkeypatch.setenv("ZOO_PLUGINS", "zoo-running-mean")
    forget()
    table, err = inspected(zoo, train(zoo, tiny, tmp_path / "mean", "running-mean + dot-product"))
    assert (table["failures"], err) == ([], "")
    assert [part["part"] for part in table["parts"]] == ["0.running-mean", "0.dot-product", "0.channel"]
    assert all(part["share"] > 0 for part in table["parts"])
    forget()


@pytest.mark.slow
def test_metrics_of_many_numbers_are_drawn_and_single_ones_told(zoo, tiny, tmp_path):
    table, _ = inspected(zoo, train(zoo, tiny, tmp_path / "experts", "leviathan-moe(experts=3)"))
    assert sum(table["metrics"]["0.leviathan-moe.load"]) == pytest.approx(1, abs=1e-5)
    load = next(panel for panel in table["panels"] if panel["title"] == "load")
    assert load["values"] == table["metrics"]["0.leviathan-moe.load"]
    page = (tmp_path / "experts" / "report.html").read_text(encoding="utf-8")
    entropy = format(table["metrics"]["0.leviathan-moe.entropy"], ".4g")
    assert re.search(rf"0\.leviathan-moe\.entropy</th><td>{re.escape(entropy)}<", page)


def refused(zoo, *arguments, code=2):
    result = zoo("inspect", *arguments, "--device", "cpu")
    assert (result.code, result.out) == (code, "")
    (line,) = result.err.splitlines()
    return line


@pytest.mark.slow
def test_what_cannot_be_inspected_is_told_in_one_line(zoo, trained, tmp_path):
    assert "there is no run at" in refused(zoo, tmp_path / "nowhere")
    assert "--tokens 0 should be 1 or more" in refused(zoo, trained, "--tokens", 0)
    with RunDirectory.open(trained).lock():
        outcome = []
        other = threading.Thread(target=lambda: outcome.append(zoo("inspect", trained, "--device", "cpu")))
        other.start()
        other.join()
    assert outcome[0].code == 2
    assert "another process is at work in" in outcome[0].err
    (trained / "inspection").write_text("in the way")
    assert "cannot write" in refused(zoo, trained, "--tokens", 16, code=1)
    run = RunDirectory.open(trained)
    run.write_environment(run.environment | {"data_sha256": "0"})
    assert "has changed since the run began" in refused(zoo, trained)
    shutil.rmtree(trained / "checkpoints")
    assert "there is no checkpoint in" in refused(zoo, trained)


def test_nothing_is_written_through_a_link(zoo, trained, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (trained / "inspection").symlink_to(tmp_path / "elsewhere")
    result = zoo("inspect", trained, "--tokens", 8)
    assert result.code == 2
    assert result.err.endswith("inspection is a link to another folder: put that in its place\n")
    assert not any((tmp_path / "elsewhere").iterdir())


@pytest.mark.slow
def test_a_missing_plugin_is_named(zoo, tiny, tmp_path, distribution, monkeypatch):

    distribution("acme-mixers", LOUD.format(panels="return []"))
    run = train(zoo, tiny, tmp_path / "loud", "loud")
    monkeypatch.setenv("ZOO_BLOCK_PLUGINS", "acme-mixers")
    forget()
    assert "acme-mixers" in refused(zoo, run, code=4)
