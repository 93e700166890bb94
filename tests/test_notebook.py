"""The notebook of docs/ is executed from top to bottom; what a kernel shows of a run, and what its stop button does."""

import json
import time
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
nbformat = pytest.importorskip("nbformat")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # what Jupyter warns of is not ours to change

NOTEBOOK = Path(__file__).parents[1] / "docs" / "idea-to-page.ipynb"
PATIENCE = 120
"""Seconds, which are what the notebook may take on two cores."""

START = """
import torch, zoo
class Slow(zoo.TokenMixer):
    def forward(self, x):
        import time
        time.sleep(0.05 if self.training else 0)
        return x
small = {"data": "mqar(vocab=32, pairs=2, length=16)", "dim": 16, "layers": 1, "heads": 2, "batch": 4}
"""


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """That of a kernel: with a place of its own for what it writes, and one thread, since other tests run beside it."""
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("ZOO_PLUGIN_FILES", "")
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, 4)


def client_of(notebook, folder):
    resources = {"metadata": {"path": str(folder)}}
    return nbclient.NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3", resources=resources)


def shown(cell, form):
    """What a cell shows in that form, one after the other."""
    return [output["data"][form] for output in cell.outputs if form in output.get("data", {})]


def cell_with(notebook, text):
    (found,) = [cell for cell in notebook.cells if cell.cell_type == "code" and text in cell.source]
    return found


def test_the_notebook_is_kept_without_what_it_shows():
    saved = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in saved["cells"] if cell["cell_type"] == "code"]
    assert [cell["outputs"] for cell in code] == [[]] * len(code)
    assert {cell["execution_count"] for cell in code} == {None}
    nbformat.validate(nbformat.from_dict(saved))


def test_the_notebook_leads_from_an_idea_to_a_page(notebook, environment):
    began = time.monotonic()
    client_of(notebook, environment).execute()
    assert time.monotonic() - began < PATIENCE
    (refused,) = shown(cell_with(notebook, "zoo.check(TwoSided"), "text/html")[-1:]
    assert '<td class="zoo-failed">failed</td>' in refused
    assert "write 0 depends on read 1" in refused
    (passed,) = shown(cell_with(notebook, "zoo.check(Fading"), "text/html")[-1:]
    assert '<strong class="zoo-passed">passed</strong>' in passed
    (curve,) = shown(cell_with(notebook, "zoo.train("), "text/html")[-1:]
    assert '<img alt="loss of fading against the step"' in curve
    (table,) = shown(cell_with(notebook, "zoo.compare("), "text/html")[-1:]
    assert table.count("<img ") == 2
    assert "ahead of running-mean by more than chance" in table
    written = "".join(output.text for output in cell_with(notebook, ".generate(").outputs)
    assert written.startswith("def ")
    assert "comparisons/fading/report.html" in shown(cell_with(notebook, "FileLink("), "text/html")[0]
    assert (environment / "comparisons" / "fading" / "report.html").is_file()
    assert (environment / "runs" / "fading" / "report.html").is_file()
    assert [
        output for cell in notebook.cells for output in cell.get("outputs", []) if output.output_type == "error"
    ] == []


def test_a_notebook_shows_how_far_it_is_and_then_what_came_of_it(environment):
    source = START + "from zoo.api.progress import NotebookLine\n"
    source += "closing, NotebookLine.close = NotebookLine.close, lambda self: None\n"  # the last frame stays
    source += "zoo.train(Slow, steps=20, **small)"
    silent = "NotebookLine.close = closing\nzoo.train(Slow, steps=2, progress=False, **small);"
    cells = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in (source, silent)])
    client_of(cells, environment).execute()
    frame, result = shown(cells.cells[0], "text/html")
    assert '<progress value="' in frame
    assert "/20  loss " in frame
    assert "step " in shown(cells.cells[0], "text/plain")[0]
    assert result.startswith('<div class="zoo-result">')
    assert cells.cells[1].outputs == []


STOPPED = {
    "zoo.train(Slow, steps=100000, out='run', **small)": "saved; resume with: zoo.train(resume='run')",
    "zoo.compare([Slow], budget='steps:100000', out='out', **small)": (
        "stopped, every run saved; resume with the same call and out='out'"
    ),
}


def stopping(call, sign):
    """The source of a cell whose call is stopped when a checkpoint lies in a folder."""
    return f"""
import os, pathlib, signal, threading, time
def stop():  # what the button does
    while not any(pathlib.Path({str(sign)!r}).rglob("step-*")):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=stop, daemon=True).start()
try:
    {call}
except KeyboardInterrupt as stopped:
    print(type(stopped).__name__, stopped)
"""


def test_the_stop_button_saves_and_says_how_to_go_on(environment):
    sources = [START]
    for call in STOPPED:
        sources += [stopping(call, environment / ("run/checkpoints" if "train" in call else "out")), "1 + 1"]
    cells = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    client_of(cells, environment).execute()
    for text, stopped, after in zip(STOPPED.values(), cells.cells[1::2], cells.cells[2::2], strict=True):
        said = "".join(output.text for output in stopped.outputs if output.get("name") == "stdout")
        assert said.startswith("KeyboardInterrupt ")
        assert text in said
        assert shown(after, "text/plain") == ["2"]
