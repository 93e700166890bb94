"""A model that was trained in a plain loop, saved as a run that every command opens."""

import json
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch

import zoo
from zoo.cli.main import run as run_command
from zoo.data.tokenize import make_tokenizer
from zoo.errors import UsageError
from zoo.model.shared import state_tensors
from zoo.plugin.files import load_file
from zoo.plugin.registry import forget
from zoo.train.session import resume
from zoo.train.settings import Settings

TEXT = "the cat sat on the mat. " * 40

MINE = '''
import torch
import zoo


class Halved(zoo.TokenMixer):
    """Each token writes a part of its read.

    Options:
        factor: of the read.
    """

    paper = "unpublished"

    def __init__(self, dim: int, factor: float = 0.5) -> None:
        super().__init__()
        self.factor, self.weight = factor, torch.nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return self.factor * self.weight * x
'''


class Doubled(zoo.TokenMixer):
    def forward(self, x):
        return 2 * x


class Random(zoo.TokenMixer):
    """Draws a table that it does not save."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.table = torch.randn(dim)

    def forward(self, x):
        return self.table * x


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch, no_plugin_files):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "text.txt"


@pytest.fixture
def data(text):
    return zoo.load_data("text.txt", tokenizer="char")


def built(pattern="dot-product", vocab_size=12, seed=0, **options):
    torch.manual_seed(seed)
    return zoo.build_model(pattern, **{"vocab_size": vocab_size, "dim": 8, "heads": 2, "context": 8} | options)


def trained(data, pattern="dot-product", **options):
    model = built(pattern, data.vocab_size, **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(2):
        batch = data.draw(context=8, batch=2, step=step)
        model(batch.inputs, batch.targets).loss.backward()
        optimizer.step()
    return model


def outcome(capsys, *arguments):
    forget()
    capsys.readouterr()
    code = run_command([str(argument) for argument in arguments])
    return code, capsys.readouterr()


@pytest.mark.slow
def test_a_saved_model_is_the_same_when_it_is_loaded(data, tmp_path):
    model = trained(data, "dot-product, correlation@one*2", layers=4, residual="sandwich", tie_embeddings=False)
    model.train()
    folder = zoo.save_run(model, "runs/mine", data=data, step=2)
    assert folder == tmp_path / "runs" / "mine"
    assert model.training
    loaded = zoo.load_run("runs/mine")
    assert (loaded.step, loaded.warnings, loaded.tokenizer.pieces) == (2, (), data.tokenizer.pieces)
    saved, expected = state_tensors(loaded.model), state_tensors(model)
    assert saved.keys() == expected.keys()
    assert all(torch.equal(saved[name], expected[name]) for name in saved)
    assert loaded.settings.mixer == "dot-product, correlation@one*2"
    assert loaded.settings.residual == "sandwich"
    prompt = data.tokenizer.encode("the ")
    said = data.tokenizer.decode(zoo.generate(model, prompt, tokens=20, seed=3))
    assert loaded.sample("the ", tokens=20, seed=3) == f"the {said}"


def test_every_setting_of_a_model_is_saved():
    of_model = {"mixer", "channel_mixer", "residual", "layers", "dim", "heads", "context", "positions", "dropout"}
    of_model |= {"tie_embeddings"}
    names = list(Settings.model_fields)
    assert set(names[: names.index("data")]) == of_model


@pytest.mark.slow
def test_a_run_of_classes_is_opened_like_a_run_of_names(text, data, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(MINE)
    cls = load_file(tmp_path / "mine.py").members[0].cls
    zoo.register("half", cls)
    model = trained(data, [partial(cls, factor=0.25), "dot-product"], channel_mixer="none")
    zoo.save_run(model, "run", data=data)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config == {
        "mixer": "half(factor=0.25), dot-product", "channel_mixer": "none", "residual": "pre-norm", "layers": None,
        "dim": 8, "heads": 2, "context": 8, "positions": "none", "dropout": 0.0, "tie_embeddings": True,
        "data": str(text), "tokenizer": "char", "validation_fraction": 0.1, "documents": "joined",
    }  # fmt: skip
    generate = ["generate", "run", "--prompt", "the ", "--tokens", 5, "--seed", 3]
    code, said = outcome(capsys, *generate)
    file = tmp_path / "mine.py"
    assert (code, said.err) == (2, f"error: the mixer 'half' came from the file {file}: pass it with -p {file}\n")
    code, said = outcome(capsys, "-p", file, *generate)
    prompt = data.tokenizer.encode("the ")
    expected = data.tokenizer.decode(zoo.generate(model, prompt, tokens=5, seed=3))
    assert (code, said.out) == (0, f"the {expected}\n")


def test_a_run_of_a_prompt_says_what_to_do(data, capsys):
    cls = type("Typed", (Doubled,), {"__module__": "__main__"})
    zoo.register("typed", cls)
    zoo.save_run(trained(data, "typed"), "run", data=data)
    code, said = outcome(capsys, "generate", "run")
    assert code == 2
    assert said.err == (
        "error: the mixer 'typed' was registered in the process that used it: define it in a file and pass that with "
        "-p FILE, or zoo.register it again\n"
    )


def test_what_trained_it_is_told_truthfully(data, tmp_path, capsys):
    zoo.save_run(trained(data), "run", data=data, step=7)
    environment = json.loads((tmp_path / "run" / "env.json").read_text())
    assert environment["saved_by"] == "zoo.save_run"
    assert set(environment["plugins"]) == {"channel-mixer:swiglu", "dot-product", "residual:pre-norm", "tokenizer:char"}
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000007"]
    assert not list((tmp_path / "run").rglob("optimizer*"))
    text = f"{'run'} was saved by zoo.save_run and has no state of an optimizer to resume: "
    with pytest.raises(UsageError, match=f"^{text}train the model of zoo.load_run further in Python$"):
        resume(tmp_path.joinpath("run").relative_to(tmp_path))
    before = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert outcome(capsys, "train", "--resume", "run", "--steps", 9)[0] == 2
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == before


@pytest.mark.slow
def test_a_model_of_a_task_is_saved_with_its_task(tmp_path, capsys):
    data = zoo.load_data("parity(length=8)")
    model = built("dot-product", data.vocab_size, readout=data.readout(8))
    batch = data.draw(context=8, batch=2, step=0)
    model(batch.inputs, batch.targets, batch.where).loss.backward()
    zoo.save_run(model, "run", data=data)
    loaded = zoo.load_run("run")
    assert (loaded.tokenizer, loaded.settings.data) == (None, "parity(length=8)")
    code, said = outcome(capsys, "generate", "run")
    assert (code, "learned the task" in said.err) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["text.txt", "parity(length=8)"])
def test_a_saved_run_is_inspected(text, tmp_path, capsys, name):
    data = zoo.load_data(name)
    zoo.save_run(built("dot-product", data.vocab_size, readout=data.readout(8)), "run", data=data)
    code, said = outcome(capsys, "inspect", "run", "--tokens", 64)
    assert (code, "0.dot-product" in said.out) == (0, True)
    assert (tmp_path / "run" / "report.html").is_file()


class Upper(zoo.Tokenizer):
    """Knows no small letters."""

    def __init__(self) -> None:
        super().__init__(bytes([code]) for code in range(32, 91))

    def encode(self, text):
        return np.array([self.pieces.index(letter.encode()) for letter in text.upper()], dtype=np.uint8)

    def to_json(self):
        return {}

    @classmethod
    def from_json(cls, saved):
        return cls()


class Forgets(Upper):
    @classmethod
    def from_json(cls, saved):
        made = cls()
        made.pieces = made.pieces[::-1]
        return made


def test_a_tokenizer_of_one_s_own_is_saved_without_data(tmp_path, capsys):
    tokenizer = Upper()
    model = built(vocab_size=tokenizer.vocab_size)
    with pytest.raises(UsageError, match=r"^Upper is not registered, and a run names its parts: call zoo.register\('u"):
        zoo.save_run(model, "run", tokenizer=tokenizer)
    zoo.register("upper", Upper)
    zoo.save_run(model, "run", tokenizer=tokenizer)
    assert zoo.load_run("run").sample("a b", tokens=3).startswith("a b")
    zoo.register("upper", Upper)
    code = run_command(["inspect", "run"])
    assert (code, capsys.readouterr().err) == (
        2, "error: run was saved without its data: zoo.save_run(…, data=zoo.load_data(…)) names them\n",
    )  # fmt: skip


def changed(model):
    model.layers[0].mixers[0] = Doubled()
    return model


def resized(model):
    model.embedding = torch.nn.Embedding(12, 16)
    return model


def by_hand(model):
    return zoo.Backbone(list(model.layers), model.residual, vocabulary=12, dim=8, context=8)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: built(Doubled),
            "Doubled is not registered, and a run names its parts: call zoo.register('doubled', Doubled), then save "
            "the same model again",
        ),
        (
            lambda: by_hand(built()),
            "the model was put together by hand, and a run has to say how to build it again: build it with "
            "zoo.build_model, or keep its state_dict() with torch.save",
        ),
        (lambda: changed(built()), "the model is not what zoo.build_model built any more: Error(s) in loading"),
        (lambda: resized(built()), "the model is not what zoo.build_model built any more: Error(s) in loading"),
        (lambda: torch.nn.Linear(1, 1), "a model of zoo.build_model is expected, and this is a Linear"),
        (
            lambda: built("random", seed=1),
            "the model predicts something else when it is built again and loaded: a part of it or a class was changed, "
            "or a part holds numbers that are neither a parameter nor a buffer of its state_dict()",
        ),
    ],
)
def test_a_model_that_cannot_be_built_again_is_refused_and_nothing_is_left(make, text, tmp_path):
    zoo.register("random", Random)
    tokenizer = make_tokenizer("char", "abcdefghijkl", "abcdefghijkl")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError) as error:
        zoo.save_run(make(), "run", tokenizer=tokenizer)
    assert str(error.value).startswith(text)
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.iterdir()) == before


def redefined(factor):
    def forward(self, x):
        return factor * x

    return type("Cell", (zoo.TokenMixer,), {"__module__": "__main__", "forward": forward})


def test_a_cell_that_has_run_again_is_taken_for_that_of_before_if_it_computes_the_same(data):
    first, again, other = redefined(2), redefined(2), redefined(3)
    zoo.register("cell", first)
    model = trained(data, [first])
    zoo.register("cell", again)
    assert zoo.load_run(zoo.save_run(model, data=data)).settings.mixer == "cell"
    zoo.register("cell", other)
    with pytest.raises(UsageError, match=r"^the model predicts something else .*: a part of it or a class was changed"):
        zoo.save_run(model, data=data)


def test_a_class_may_be_registered_after_the_training(data):
    model = trained(data, Doubled)
    zoo.register("twice", Doubled)
    zoo.save_run(model, "run", data=data)
    assert zoo.load_run("run").settings.mixer == "twice"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "pass either data, what zoo.load_data gave, or the tokenizer of the model"),
        ({"data": "text.txt"}, "data should be what zoo.load_data gives, not str"),
        ({"tokenizer": "char"}, "tokenizer should be an instance of zoo.Tokenizer, not str"),
        (
            {"tokenizer": make_tokenizer("byte", "", "")},
            "the model has 12 tokens and its data has 256: pass those with which it was trained",
        ),
        ({"tokenizer": make_tokenizer("char", "", "")}, "the CharTokenizer has no tokens yet: fit it to a text first"),
        ({"step": -1}, "step=-1 should be 0 or more"),
    ],
)
def test_what_cannot_be_saved_is_told_in_a_line(arguments, text, tmp_path):
    with pytest.raises(UsageError) as error:
        zoo.save_run(built(), "run", **arguments)
    assert str(error.value) == text
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_that_comes_back_as_another_is_refused(tmp_path):
    zoo.register("forgets", Forgets)
    with pytest.raises(UsageError, match=r"^Forgets.from_json makes another tokenizer of what its to_json gives$"):
        zoo.save_run(built(vocab_size=59), "run", tokenizer=Forgets())
    assert not (tmp_path / "run").exists()


def test_nothing_is_overwritten(data, tmp_path):
    model = trained(data)
    (tmp_path / "empty").mkdir()
    assert zoo.load_run(zoo.save_run(model, "empty", data=data)).step == 0
    before = {path: path.read_bytes() for path in (tmp_path / "empty").rglob("*") if path.is_file()}
    (tmp_path / "file").write_text("mine")
    for place in ("empty", "file"):
        with pytest.raises(UsageError, match=rf"{place} exists: choose another folder, or none for a new one in runs/"):
            zoo.save_run(model, place, data=data)
    assert {path: path.read_bytes() for path in (tmp_path / "empty").rglob("*") if path.is_file()} == before
    assert (tmp_path / "file").read_text() == "mine"


def test_without_a_folder_a_new_one_is_made(data, tmp_path):
    model = trained(data)
    folders = [zoo.save_run(model, data=data) for _ in range(3)]
    assert len(set(folders)) == 3
    assert {folder.parent for folder in folders} == {tmp_path / "runs"}
    assert all("-dot-product-" in folder.name for folder in folders)
    assert repr(zoo.load_run(folders[0])) == f"Run(path={folders[0]!r}, step=0, warnings=())"


def test_what_appears_meanwhile_is_kept(data, tmp_path, monkeypatch):
    def check(run, model, tokenizer):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "note.txt").write_text("mine")

    monkeypatch.setattr("zoo.save._check_saved", check)
    with pytest.raises(zoo.ZooError, match=r"cannot write .*run: Directory not empty"):
        zoo.save_run(trained(data), "run", data=data)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["note.txt"]


def test_a_kill_leaves_no_run(data, tmp_path, capsys, monkeypatch):
    def killed(run, model, tokenizer):
        raise KeyboardInterrupt

    (tmp_path / "runs").mkdir()
    monkeypatch.setattr("zoo.save._check_saved", killed)
    monkeypatch.setattr("shutil.rmtree", lambda *_args, **_named: None)
    with pytest.raises(KeyboardInterrupt):
        zoo.save_run(trained(data), "runs/run", data=data)
    assert not (tmp_path / "runs" / "run").exists()
    assert os.listdir(tmp_path / "runs")  # noqa: PTH208 - what a kill leaves is hidden, and not taken for a run
    code, said = outcome(capsys, "generate", "latest")
    assert (code, "none is the latest" in said.err) == (2, True)


@pytest.mark.slow
def test_a_compiled_model_is_saved_as_what_was_compiled(data):
    model = trained(data)
    zoo.save_run(torch.compile(model, backend="eager"), "run", data=data)
    saved = state_tensors(zoo.load_run("run").model)
    assert all(torch.equal(saved[name], tensor) for name, tensor in state_tensors(model).items())


SCRIPT = """
import torch
import zoo
from mine import Halved

zoo.register("half", Halved)
data = zoo.load_data("text.txt")
model = zoo.build_model("half, dot-product", vocab_size=data.vocab_size, dim=16, heads=2, context=16)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
for step in range(30):
    batch = data.draw(context=16, batch=4, step=step)
    loss = model(batch.inputs, batch.targets).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
print(loss.item())
print(data.tokenizer.decode(zoo.generate(model, data.tokenizer.encode("the "), tokens=12, seed=1)))
zoo.save_run(model, "run", data=data, step=30)
"""


@pytest.mark.slow
def test_from_a_script_to_the_command_line(text, tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "train.py").write_text(SCRIPT)

    def output(*arguments):
        result = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True, timeout=120)
        return result.stdout

    loss, said = output("train.py").split("\n", 1)
    assert float(loss) < 4  # of log 256 = 5.5
    command = [
        "-c",
        "from zoo.cli.main import main; main()",
        "-p",
        "mine.py",
        "generate",
        "run",
        "--prompt",
        "the ",
        "--tokens",
        "12",
    ]
    assert output(*command, "--seed", "1") == f"the {said}"
