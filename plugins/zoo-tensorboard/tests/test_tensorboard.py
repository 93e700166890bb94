"""What TensorBoard finds in the event files: the rows of metrics.jsonl, whatever became of the run."""

import json
import subprocess
import sys

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.data.provider import RunTagFilter
from tensorboard.util.tensor_util import make_ndarray
from zoo_tensorboard import TensorBoard

import zoo

from .runs import Program

ROWS = [{"step": 3, "loss": 0.1, "tokens": 2**53 - 1}, {"step": 6}, {"step": 9, "loss": None, "accuracy": 1 / 3}]


@pytest.fixture
def run(tmp_path):
    return zoo.ReportedRun(tmp_path, "a", "k" * 16, {"mixer": "a|b", "lr": 1e-3, "layers": None}, {"cpu": {"cores": 2}})


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


def viewed(folder, plugin, name="."):
    """What a plugin of the viewer finds, through its own reader: for each tag, its step and value at each point."""
    multiplexer = EventMultiplexer(size_guidance={}, tensor_size_guidance={"scalars": 0, "text": 0})
    multiplexer.AddRunsFromDirectory(str(folder)).Reload()
    provider, every = MultiplexerDataProvider(multiplexer, str(folder)), RunTagFilter()
    common = {"experiment_id": "", "plugin_name": plugin, "downsample": 10**6, "run_tag_filter": every}
    if plugin == "scalars":
        found = provider.read_scalars(RequestContext(), **common)[name]
        return {tag: [(point.step, point.value) for point in points] for tag, points in found.items()}
    found = provider.read_tensors(RequestContext(), **common)[name]
    return {tag: [(point.step, point.numpy) for point in points] for tag, points in found.items()}


def texts_in(folder, name="."):
    """The texts of the viewer, likewise."""
    found = viewed(folder, "text", name)
    return {tag: [(step, value.item().decode()) for step, value in points] for tag, points in found.items()}


def curves(rows):
    """The rows, as the curves that they should be."""
    names = dict.fromkeys(name for row in rows for name in row if name != "step")
    return {name: [(row["step"], row[name]) for row in rows if row.get(name) is not None] for name in names}


def test_each_figure_is_a_curve_of_the_viewer(run, tmp_path):
    reporter = TensorBoard()
    reporter.open(run, ROWS[:1])
    for row in ROWS[1:]:
        reporter.row(row)
        assert TensorBoard().read(run)[-1]["step"] == row["step"]  # at once
    reporter.close()
    assert viewed(tmp_path / "tensorboard", "scalars") == curves(ROWS)
    assert TensorBoard().read(run) == [ROWS[0], ROWS[1], {"step": 9, "accuracy": 1 / 3}]


def test_texts_are_settings_samples_and_figures(run, tmp_path):
    reporter = TensorBoard()
    reporter.open(run, [])
    reporter.row({"step": 3, "loss": 1.0})
    reporter.sample(3, "a < b\n\n```\nü")
    reporter.finish({"loss": 1.0, "accuracies": {"length": {"8": 0.5}}})
    reporter.close()
    texts = texts_in(tmp_path / "tensorboard")
    assert texts["sample"] == [(3, "    a < b\n    \n    ```\n    ü\n")]
    assert '| mixer | `"a\\|b"` |' in texts["settings"][0][1]
    ((_, environment),) = texts["environment"]
    assert environment == '    {\n      "cpu": {\n        "cores": 2\n      }\n    }\n'
    assert texts["figures"] == [(3, '| | |\n|---|---|\n| loss | `1.0` |\n| accuracies | `{"length": {"8": 0.5}}` |')]
    assert len(viewed(tmp_path / "tensorboard", "hparams")) == 2
    assert TensorBoard().read(run) == [{"step": 3, "loss": 1.0}]


def test_only_event_files_of_this_run_are_replaced(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = zoo.ReportedRun(tmp_path, "a", "o" * 16, {}, {})
    for of in (run, other, run):
        reporter = TensorBoard(folder="logs")
        reporter.open(of, ROWS)
        reporter.close()
    own, others = tmp_path / "logs" / f"a-{run.key}", tmp_path / "logs" / f"a-{other.key}"
    (kept := own / "events.out.tfevents.1.profiler").touch()
    reporter.open(run, [])
    reporter.close()
    assert kept.exists()
    for _ in range(9):
        reporter.open(run, [])
        reporter.close()
    assert [len(list(folder.glob("*.zoo"))) for folder in (own, others)] == [2, 1]
    assert TensorBoard(folder="logs").read(run) == []
    assert len(TensorBoard(folder="logs").read(other)) == 3


def test_a_row_that_was_cut_off_is_left_out(run, tmp_path):
    TensorBoard().open(run, ROWS)
    (path,) = (tmp_path / "tensorboard").iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    assert [row["step"] for row in TensorBoard().read(run)] == [3, 6]


def test_a_viewer_that_is_open_forgets_the_steps_that_are_made_again(run, tmp_path):
    multiplexer = EventMultiplexer(tensor_size_guidance={"scalars": 0})
    TensorBoard().open(run, [{"step": step, "loss": 1.0} for step in (1, 2, 3)])
    multiplexer.AddRunsFromDirectory(str(tmp_path / "tensorboard")).Reload()
    TensorBoard().open(run, [{"step": step, "loss": 2.0} for step in (1, 2)])
    multiplexer.Reload()
    points = multiplexer.Tensors(".", "loss")
    assert [(point.step, make_ndarray(point.tensor_proto).item()) for point in points] == [(1, 2.0), (2, 2.0)]


def test_a_folder_that_cannot_be_one_is_refused(run, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(zoo.UsageError, match=r"^`folder`='\S+/file' should be a folder, and \S+ cannot be one$"):
        TensorBoard(folder=str(tmp_path / "file")).open(run, [])


@pytest.mark.slow
def test_neither_torch_nor_tensorflow_is_imported(tmp_path):
    script = "import sys, zoo, zoo_tensorboard\nfrom pathlib import Path\n"
    script += "run = zoo.ReportedRun(Path('.'), 'a', 'k', {}, {})\nreporter = zoo_tensorboard.TensorBoard()\n"
    script += (
        "reporter.open(run, [])\nreporter.row({'step': 1, 'loss': 0.1})\nreporter.finish({})\nreporter.read(run)\n"
    )
    script += "print({'torch', 'tensorflow'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", script], cwd=tmp_path, text=True) == "set()\n"


@pytest.mark.slow
def test_a_run_that_is_killed_and_resumed_and_then_replayed(program):
    program.kill_in_the_middle("tensorboard", steps=300, rows=25)
    assert "has failed" not in program.run("train", "--resume", "run")
    expected = curves(program.logged())
    assert expected["train_loss"][-1][0] == 300
    assert viewed(program.folder / "run" / "tensorboard", "scalars") == expected
    samples = texts_in(program.folder / "run" / "tensorboard")["sample"]
    assert [step for step, _ in samples] == [*range(20, 301, 20)]
    assert (
        program.run("report", "run", "--to", "tensorboard(folder=logs)")
        == "tensorboard(folder=logs) has all rows of run\n"
    )
    (name,) = (path.name for path in (program.folder / "logs").iterdir())
    assert viewed(program.folder / "logs", "scalars", name) == expected
    assert texts_in(program.folder / "logs", name)["sample"] == samples


@pytest.mark.slow
def test_a_library_that_raises_leaves_the_run_whole(program):
    (program.folder / "site" / "tensorboard").mkdir()
    (program.folder / "site" / "tensorboard" / "__init__.py").write_text("raise OSError('no\\nlibrary')")
    said = program.run(*program.training("tensorboard"))
    assert said.count("has failed and gets nothing any more (OSError: no library)") == 1
    assert program.logged()[-1]["step"] == 40
    assert json.loads((program.folder / "run" / "summary.json").read_text())["steps"] == 40
