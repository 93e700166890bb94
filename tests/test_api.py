"""`zoo.train`, `check`, `compare` and `bench`, and the objects that they return."""

import inspect
import io
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import zoo
import zoo.train.session
from zoo.api.check import Verdict
from zoo.api.members import pattern_of
from zoo.api.progress import Line, TerminalLine, progress_line
from zoo.errors import UsageError
from zoo.pages.page import markup, render_fragment
from zoo.pages.picture import Picture, new_figure

TASK = "mqar(vocab=32, pairs=2, length=16)"
SMALL = {"data": TASK, "dim": 16, "heads": 2, "layers": 1, "batch": 4, "final_evaluation_tokens": 256}


class Shift(zoo.TokenMixer):
    """Each token writes what the token before it read, times a number."""

    paper = "unpublished"

    def __init__(self, *, times: float = 1.0) -> None:
        super().__init__()
        self.times = times

    def forward(self, x):
        return self.times * torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)


class Peek(zoo.TokenMixer):
    """Each token writes what the token after it reads."""

    def forward(self, x):
        return torch.cat([x[:, 1:], torch.zeros_like(x[:, :1])], dim=1)


class Cubed(zoo.ChannelMixer):
    """Each token writes the cube of its read."""

    def forward(self, x):
        return x**3


class Echo(zoo.Task):
    """Echo: repeat the token that is read."""

    def __init__(self, *, length: int = 16, vocab: int = 8) -> None:
        self.length, self.vocab_size = length, vocab

    def draw(self, generator, examples, *, length, test):
        inputs = generator.integers(self.vocab_size, size=(examples, length))
        return zoo.Examples(inputs, inputs.copy())


def interrupting(calls):
    """A mixer that sends Ctrl-C to its own process in one of its calls."""

    class Interrupting(Shift):
        left = calls

        def forward(self, x):
            type(self).left -= 1
            if type(self).left == 0:
                os.kill(os.getpid(), signal.SIGINT)
            return super().forward(x)

    return Interrupting


@pytest.fixture(autouse=True)
def _here(no_plugin_files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# the package that is called


def test_the_package_is_the_function():
    from zoo import train
    from zoo.api.train import train as function

    assert zoo.train is train is sys.modules["zoo.train"]
    assert inspect.signature(zoo.train) == inspect.signature(function)
    assert zoo.train.session.start.__module__ == "zoo.train.session"


@pytest.mark.slow
@pytest.mark.parametrize("first", ["import zoo", "import zoo.train.session as _", "from zoo import train"])
def test_what_was_imported_before_makes_no_difference(first):
    code = f"{first}\nimport sys, zoo\nassert zoo.train is sys.modules['zoo.train']\nzoo.train(dmi=3)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert "UsageError: there is no setting 'dmi' (did you mean 'dim'?)" in done.stderr


# train


@pytest.mark.slow
def test_a_class_is_trained_resumed_and_loaded(tmp_path):
    trained = zoo.train(Shift, steps=4, out="run", **SMALL)
    assert repr(
        trained
    ) == f"Trained('run': validation loss {trained.summary.validation_loss:.4f} nats per target, " + (
        f"accuracy {trained.summary.validation_accuracy:.1%} after 4 steps)"
    )
    assert "run" not in vars(trained)
    assert type(trained.run.model.layers[0].mixers[0]) is Shift
    assert trained.run is trained.run
    assert trained.run.settings.mixer == "shift"
    assert trained.metrics[-1]["step"] == 4
    assert trained.report.is_file()
    longer = zoo.train(Shift, steps=6, out="run", **SMALL)
    assert (longer.path, longer.summary.steps) == (trained.path, 6)
    again = zoo.train(resume="run")
    assert again.summary == longer.summary
    assert again.notices == ("the run has finished its 6 steps and stays as it is; `steps`=12 trains it longer",)
    assert again.notices[0] in again._repr_html_()
    assert zoo.train(resume="run", steps=8).summary.steps == 8
    with pytest.raises(UsageError, match=r"the run in run has dim=16, and dim=8 was asked for: choose another `out`"):
        zoo.train(Shift, steps=6, out="run", **SMALL | {"dim": 8})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.slow
def test_a_class_stands_wherever_a_name_stands():
    trained = zoo.train(
        [partial(Shift, times=2.0), "dot-product"],
        channel_mixer=Cubed,
        steps=1,
        **SMALL | {"data": partial(Echo, vocab=4), "layers": 2},
    )
    settings = trained.run.settings
    assert (settings.mixer, settings.channel_mixer) == ("shift(times=2.0), dot-product", "cubed")
    assert (settings.data, settings.layers, settings.context) == ("echo(vocab=4)", 2, 16)
    assert trained.path.parent == Path("runs")


@pytest.mark.slow
def test_training_leaves_the_session_as_it_was():
    torch.set_num_threads(2)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    try:
        zoo.train(Shift, steps=1, threads=1, dropout=0.5, **SMALL)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.slow
def test_an_interrupted_run_is_saved_and_says_how_to_resume_it():
    interrupted = interrupting(calls=3)
    with pytest.raises(
        KeyboardInterrupt, match=r"^stopped after step \d, saved; resume with: zoo\.train\(resume='run'\)$"
    ) as stopped:
        zoo.train(interrupted, steps=50, out="run", **SMALL)
    assert stopped.type is KeyboardInterrupt
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert zoo.train(resume="run").summary.steps == 50


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: zoo.train(Shift, stps=3), r"^there is no setting 'stps' \(did you mean 'steps'\?\)"),
        (lambda: zoo.train(Shift()), r"^pass the class Shift and not an instance of it"),
        (lambda: zoo.train(3), "^a mixer is a name or a subclass of zoo.TokenMixer, not int$"),
        (lambda: zoo.train([Shift, 3]), "^a mixer is a name or a subclass of zoo.TokenMixer, not int$"),
        (lambda: zoo.train(Cubed), "^Cubed is a channel mixer, and a mixer is expected"),
        (lambda: zoo.train(partial(Shift, 2.0)), r"^partial\(Shift, …\) has arguments without a name"),
        (lambda: zoo.train("shift-it"), "^no mixer is named 'shift-it'"),
        (lambda: zoo.train(Shift, data=Shift), "^Shift is a mixer, and a task is expected"),
        (lambda: zoo.train(Shift, data="nothing.txt"), "nothing.txt"),
        (lambda: zoo.train("./mine.py:Mine"), "^there is no plugin file"),
        (lambda: zoo.train(resume="nowhere"), "^there is no run at nowhere"),
        (lambda: zoo.train(resume="run", steps=0), "^steps=0 should be a whole number, 1 or more$"),
        (
            lambda: zoo.train(Shift, resume="run", dim=8),
            "^`resume` goes on with the settings of the run: leave out `mixer`, `dim`; only `steps` and `report` may "
            "change, and `data` where the text was moved$",
        ),
        (
            lambda: zoo.check(Shift, only="causalty"),
            r"^no law of mixers is named 'causalty' \(did you mean 'causality'",
        ),
        (lambda: zoo.check(3), "^a mixer is a name or a subclass of zoo.TokenMixer, not int$"),
        (lambda: zoo.check(Shift, examples=0), "^examples=0 should be 1 or more$"),
        (lambda: zoo.check(partial(Shift, tmes=2.0)), "times"),
        (lambda: zoo.compare([Shift()]), "^pass the class Shift and not an instance of it"),
        (lambda: zoo.compare(Shift, budget="steps:x"), "^`budget`='steps:x' should read steps:2000"),
        (lambda: zoo.bench(Shift, kinds="forwar"), "forwar"),
        (lambda: zoo.bench([Shift], lengths=[0]), "lengths"),
        (
            lambda: zoo.bench([Shift], dmi=3),
            r"^there is no option 'dmi' \(did you mean 'dim'\?\); there are: dim, heads",
        ),
    ],
)
def test_a_mistake_is_a_line_before_anything_is_done(call, text, tmp_path):
    with pytest.raises(UsageError, match=text):
        call()
    assert list(tmp_path.iterdir()) == []


# names of classes


def test_a_class_that_was_defined_anew_takes_the_place_of_the_one_before():
    def defined():
        class Mine(Shift):
            pass

        return Mine

    first, second = defined(), defined()
    assert pattern_of(first) == pattern_of(first) == "mine"
    assert pattern_of([second, partial(second, times=3.0)]) == "mine, mine(times=3.0)"
    assert type(zoo.create_mixer("mine", dim=8)) is second


def test_a_class_does_not_take_a_name_that_is_taken():
    class Involution(Shift):
        pass

    assert pattern_of(Involution) == "involution-2"
    assert type(zoo.create_mixer("involution-2", dim=8)) is Involution


def test_a_file_that_was_edited_is_run_anew():
    source = 'from zoo import TokenMixer\nclass Mine(TokenMixer):\n    "First."\n    def forward(self, x): return x\n'
    Path("mine.py").write_text(source)
    assert pattern_of("./mine.py:Mine") == "mine"
    first = type(zoo.create_mixer("mine", dim=8))
    assert pattern_of("./mine.py:Mine*2") == "mine*2"
    assert type(zoo.create_mixer("mine", dim=8)) is first
    Path("mine.py").write_text(source.replace("First", "Second"))
    assert pattern_of("./mine.py:Mine") == "mine"
    assert type(zoo.create_mixer("mine", dim=8)).__doc__ == "Second."


# check


@pytest.mark.slow
def test_a_verdict_is_its_results_and_a_table():
    good = zoo.check(partial(Shift, times=0.5), only=["causality", "shape"], examples=2)
    assert isinstance(good, Verdict)
    assert good
    assert good.passed
    assert re.fullmatch(r"Verdict\(mixer Shift\(times=0\.5\): 2 passed, in \d+\.\d s\)", repr(good))
    bad = zoo.check(Peek, only=["shape", "causality"], examples=2)
    assert not bad
    assert [result.law for result in bad.failed] == ["causality"]
    assert len(bad) == len(list(bad)) == 2
    with pytest.raises(KeyError, match="the law 'gradients' was not asked; these were: shape, causality"):
        bad["gradients"]
    page = bad._repr_html_()
    assert '<td class="zoo-failed">failed</td>' in page
    assert "depends on read 1" in page
    assert "Write t depends on the reads up to t only" in page
    assert "zoo-failed" not in good._repr_html_().partition("</style>")[2]


def test_an_interrupt_before_the_first_case_is_one(monkeypatch):
    def interrupted(_state):
        raise KeyboardInterrupt

    monkeypatch.setattr("hypothesis.core.StateForActualGivenExecution.run_engine", interrupted)
    with pytest.raises(KeyboardInterrupt):
        zoo.check(Shift, only="shape")


@pytest.mark.slow
def test_a_member_of_any_kind_is_checked_by_class_or_name():
    assert zoo.check(Cubed, only="shape", examples=1).kind == "channel-mixer"
    assert zoo.check(Echo).kind == zoo.check("task:parity").kind == "task"
    whole = zoo.check([Shift, "dot-product"], only="causality", examples=1)
    assert (whole.member, whole.passed) == ("shift, dot-product", True)
    declared = zoo.check(Peek, only="causality", examples=2, expected_failures={"causality": "it looks ahead"})
    assert declared
    assert declared["causality"].status == "expected"


# compare


@pytest.mark.slow
def test_classes_of_this_process_are_compared_in_it(tmp_path):
    out = {"budget": "steps:3", "out": "out", **SMALL}
    comparison = zoo.compare([Shift, partial(Shift, times=0.5)], seeds=2, **out)
    arms = comparison.results.data[0].arms
    assert [(arm.arm.pattern, arm.error) for arm in arms] == [("shift", None), ("shift(times=0.5)", None)]
    assert comparison.results.plan.jobs == 1
    assert repr(comparison) == f"Comparison('out': shift, shift(times=0.5) on {TASK})"
    page = comparison._repr_html_()
    assert str(comparison).partition(": ")[2].split(";")[0] in page
    assert page.count("<img ") == 2
    assert [picture.title for picture in comparison.plots()] == [picture.title for picture in comparison.plots(TASK)]
    assert comparison.report.is_file()
    assert type(zoo.create_mixer("shift", dim=8)) is Shift
    (run, *_) = sorted(path.parent for path in Path("out").rglob("config.json"))
    assert zoo.load_run(run).settings.mixer == "shift"
    again = zoo.compare([Shift, partial(Shift, times=0.5)], seeds=2, **out)
    assert [arm.estimate for arm in again.results.data[0].arms] == [arm.estimate for arm in arms]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
def test_what_runs_in_this_process_is_what_runs_in_another():
    Path("mine.py").write_text("from zoo import TokenMixer\n" + inspect.getsource(Shift).replace("zoo.", "").replace(
        "torch.", "__import__('torch')."
    ))  # fmt: skip
    here = zoo.compare([Shift], budget="steps:3", **SMALL)
    there = zoo.compare(["./mine.py:Shift"], budget="steps:3", jobs=1, **SMALL)
    assert here.results.data[0].arms[0].estimate == there.results.data[0].arms[0].estimate


@pytest.mark.slow
def test_an_interrupted_comparison_is_saved_and_resumed():
    mixer = interrupting(calls=12)  # some are made when it is built and measured
    call = partial(zoo.compare, [mixer], seeds=2, budget="steps:30", out="out", **SMALL)
    with pytest.raises(
        KeyboardInterrupt, match=r"^stopped, every run saved; resume with the same call and out='out'$"
    ) as stopped:
        call()
    assert stopped.type is KeyboardInterrupt
    arm = call().results.data[0].arms[0]
    assert (arm.error, len(arm.values("accuracy"))) == (None, 2)


# bench


@pytest.mark.slow
def test_a_bench_is_shown():
    measured = zoo.bench(Shift, lengths=[8, 16], kinds="forward", dim=16, heads=2, repeats=1, threads=1)
    assert repr(measured) == "Bench(plain sdpa, shift: forward, 4 cells)"
    assert str(measured).startswith("forward: a forward pass without gradients")
    page = measured._repr_html_()
    assert page.count("<img ") == 1
    assert '<th scope="row">shift</th>' in page
    assert measured.plot("forward").figure().axes[0].get_xlabel() == "length (tokens)"
    with pytest.raises(UsageError, match=r"^nothing was measured of 'decode'; there are: forward$"):
        measured.plot("decode")


# pictures and fragments


def drawn():
    figure = new_figure(2, 1)
    figure.add_subplot().plot([1, 2])
    return figure


@pytest.mark.pictures
def test_a_picture_is_shown_and_saved(tmp_path):
    picture = Picture('a "<loss>"', drawn)
    assert repr(picture) == "Picture('a \"<loss>\"')"
    assert "<svg" in picture._repr_svg_()
    assert picture.image.startswith('<img alt="a &quot;&lt;loss&gt;&quot;" style="max-width: ')
    assert picture.save("loss.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in picture.save(tmp_path / "loss.svg").read_bytes()
    with pytest.raises(UsageError, match=r"^'loss\.pdf' should end in \.png or \.svg$"):
        picture.save("loss.pdf")


def test_a_fragment_changes_nothing_else_of_its_page():
    page = render_fragment(
        "zoo.api/train.html.j2",
        mixer="<b>mine</b>",
        figures=[("loss", "1.0", "nats")],
        notices=["<script>"],
        picture=markup("<img>"),
        sample="<i>",
        path="a&b",
    )
    style = page.partition("<style>")[2].partition("</style>")[0]
    selectors = [each.strip() for rule in style.split("}")[:-1] for each in rule.partition("{")[0].split(",")]
    assert len(selectors) > 10
    assert [selector for selector in selectors if not selector.startswith(".zoo-result")] == []
    assert "&lt;b&gt;mine&lt;/b&gt;" in page
    assert "<script>" not in page
    assert "http" not in page


# progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_line_is_drawn_on_a_terminal_and_goes_away(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_line(shown=True) as line:
        assert isinstance(line, TerminalLine)
        line.show("step 1/2", 1, 2)
        line.show("too soon to be shown", 1, 2)
        line.show("evaluating", at_once=True)
        line.notice("a checkpoint was damaged")
        line.notice("a checkpoint was damaged")
    assert sys.stderr.getvalue() == "\r\x1b[K 50%  step 1/2\r\x1b[Kevaluating\r\x1b[Ka checkpoint was damaged\n\r\x1b[K"
    assert line.notices == ["a checkpoint was damaged"]


def test_a_line_is_cut_where_the_terminal_ends(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "30")
    with progress_line(shown=True) as line:
        line.show("x" * 100)
    assert sys.stderr.getvalue() == f"\r\x1b[K{'x' * 29}\r\x1b[K"


@pytest.mark.parametrize(("stream", "shown"), [(Terminal, False), (io.StringIO, True)])
def test_nothing_is_shown_where_nobody_looks(stream, shown, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream())
    with progress_line(shown=shown) as line:
        assert type(line) is Line
        line.show("step 1/2", 1, 2)
        line.notice("kept")
    assert sys.stderr.getvalue() == ""
    assert line.notices == ["kept"]


# generate


@pytest.mark.parametrize("prompt", [[1, 2, 3], np.array([[1, 2], [3, 4]]), torch.tensor([5])])
def test_a_model_generates_what_zoo_generate_does(prompt):
    model = zoo.build_model("dot-product", vocab_size=16, dim=16, layers=1, heads=2)
    how = {"tokens": 5, "temperature": 0.7, "top_k": 6, "top_p": 0.9, "seed": 4}
    assert torch.equal(model.generate(prompt, **how), zoo.generate(model, prompt, **how))
    assert model.training
    with pytest.raises(UsageError, match=r"^top_p=2 should be greater than 0 and at most 1$"):
        model.generate(prompt, top_p=2)
