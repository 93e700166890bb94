import shutil
from pathlib import Path

import pytest

ACAUSAL = """
    from zoo import TokenMixer, hookimpl

    class Mean(TokenMixer):
        "Each token writes the mean of all reads."

        causal = False

        def forward(self, x):
            return x.mean(1, keepdim=True).expand_as(x)

    @hookimpl
    def zoo_mixers():
        return {"mean": Mean}
"""

COPY = """
    from zoo import TokenMixer, hookimpl

    class Copy(TokenMixer):
        "Each token writes its read."

        def forward(self, x):
            return x

    @hookimpl
    def zoo_mixers():
        return {"copy": Copy}
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: Path) -> Path:
    """A folder of things that a user may name by mistake."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    (place / "empty.txt").touch()
    (place / "binary.bin").write_bytes(bytes(range(256)) * 8)
    (place / "tiny.txt").write_text("abcdefghij")
    (place / "short.txt").write_text("one two three " * 20)
    (place / "old.txt").write_text("mine")
    (place / "taken").mkdir()
    (place / "taken" / "note.txt").write_text("mine")
    (place / "broken.toml").write_text("dim = = 3")
    shutil.copytree(finished, place / "bare")
    shutil.rmtree(place / "bare" / "checkpoints")
    shutil.copytree(finished, place / "flipped")
    for path in (place / "flipped" / "checkpoints").rglob("model.safetensors"):
        path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    return place


MISTAKES = [
    # the mixer
    (["--mixer", "corelation"], ["no mixer is named 'corelation'", "did you mean 'correlation'?", "^^^"]),
    (["--mixer", "dot-product(windw=3)"], ["no option 'windw'", "did you mean 'window'?"]),
    (["--mixer", "dot-product(window=wide)"], ["window='wide'", "should be a valid integer"]),
    (["--mixer", "dot-product, (involution"], ["expected", "\n  dot-product, (involution\n", "^"]),
    (["--mixer", "dot-product)"], ["expected", "^"]),
    (["--mixer", "./mine.py:Mine"], ["there is no plugin file", "mine.py"]),
    (["--mixer", "correlation@one(max_lag=2), correlation@one(max_lag=3)"], ["label 'one'", "these options", " ^^^"]),
    (["--mixer", "correlation@one, involution@one"], ["label 'one'", "expected that mixer or another label", " ^^^"]),
    (["--mixer", "correlation@"], ["expected a label", "^"]),
    (["--channel-mixer", "swiglu@ff"], ["unexpected '@'", "^"]),
    (["--channel-mixer", "swigloo"], ["swigloo", "swiglu"]),
    (["--residual", "hyper-conections"], ["hyper-conections", "did you mean 'hyper-connections'?"]),
    (["--residual", "hyper-connections(streams=0)"], ["hyper-connections: streams=0 should be 1 or more"]),
    (["--residual", "mhc(sites=3)"], ["mhc has no option 'sites'"]),
    (["--heads", "3"], ["heads", "16"]),
    (["--heads", "16"], ["rope"]),
    (["--mixer", "correlation(axis=feature, compare=joint)"], ["feature", "joint"]),
    # the settings
    (["--dim", "0"], ["dim=0", "greater than or equal to 1"]),
    (["--layers", "-1"], ["layers=-1"]),
    (["--steps", "0"], ["steps=0"]),
    (["--steps", "-5"], ["steps=-5"]),
    (["--lr", "0"], ["lr=0"]),
    (["--lr", "-1"], ["lr=-1"]),
    (["--lr", "nan"], ["lr=nan"]),
    (["--max-time", "soon"], ["max_time='soon'"]),
    (["--precision", "fp8"], ["precision='fp8'", "'bf16'"]),
    (["--device", "abacus"], ["'abacus'", "--device cpu"]),
    (["--preset", "quik"], ["'quik'", "did you mean 'quick'?"]),
    (["--set", "dropot=0.1"], ["'dropot'", "did you mean 'dropout'?"]),
    (["--set", "dropout"], ["--set key=value"]),
    (["--set", "dropout=lots"], ["dropout='lots'"]),
    (["--config", "missing.toml"], ["missing.toml", "No such file"]),
    (["--config", "broken.toml"], ["broken.toml", "not a settings file"]),
    (["--config", "taken"], ["taken is a folder", "taken/config.json"]),
    (["--optimizer", "moun"], ["no optimizer is named 'moun'", "did you mean 'muon'?", "adamw, lion, muon, sgd"]),
    (["--optimizer", "muon(momentun=0.9)"], ["no option 'momentun'", "did you mean 'momentum'?"]),
    (["--optimizer", "sgd(lr=0.1)"], ["sgd has no option 'lr'"]),
    (["--optimizer", "lion(beta1=2)"], ["lion: beta1=2"]),
    (["--set", "beta1=0.8"], ["--optimizer 'adamw(beta1=0.8)'"]),
    (["--set", "curriculum=8-64"], ["--set curriculum='8-64' should read '8..64 over 2000'"]),
    (["--set", "curriculum=8..640 over 9", "--context", "64"], ["goes to 640 tokens, and the longest sequence has 64"]),
    # the data
    (["--data", "missing.txt"], ["missing.txt"]),
    (["--data", "mad"], ["mad is a suite of tasks", "zoo compare", "compression, fuzzy-recall"]),
    (["--data", "empty.txt"], ["empty.txt", "is empty"]),
    (["--data", "binary.bin"], ["binary.bin", "not UTF-8"]),
    (["--data", "short.txt", "--context", "1000"], ["context=1000", "too long", "--context"]),
    (
        ["--data", "tiny.txt"],
        ["'tiny.txt' is too short: 9 of its tokens are for training and 1 for"],
    ),
    (["--tokenizer", "bites"], ["'bites'"]),
    # the folder
    (["--out", "taken"], ["taken exists", "--out", "zoo train --resume taken"]),
    (["--out", "old.txt"], ["old.txt is no folder: choose another --out"]),
]


@pytest.mark.parametrize(("flags", "words"), MISTAKES, ids=lambda value: " ".join(value) if value else "")
def test_a_mistake_in_training(zoo, tiny, place, flags, words):
    before = _contents(place)
    result = zoo("train", *tiny, *flags)
    assert result.code == 2
    _check_error(result, words)
    assert _contents(place) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "missing"], ["no run at missing"]),
        (["generate", "taken"], ["taken is not a run"]),
        (["generate", "bare"], ["no checkpoint"]),
        (["generate", "flipped"], ["no checkpoint", "model.safetensors"]),
        (["generate", "RUN", "--prompt", "DEF"], ["'D'", "--tokenizer byte"]),
        (["generate", "RUN", "--tokens", "0"], ["tokens=0"]),
        (["generate", "RUN", "--temperature", "-1"], ["temperature=-1"]),
        (["generate", "RUN", "--top-k", "0"], ["top_k=0"]),
        (["generate", "RUN", "--top-p", "2"], ["top_p=2"]),
        (["generate", "RUN", "--seed", str(2**70)], ["more than 64 bits"]),
        (["tasks", "parity", "--seed", str(2**200)], ["more than 64 bits"]),
        (["check", "dot-product", "--seed", str(2**70)], ["more than 64 bits"]),
        (["bench", "dot-product", "--seed", str(2**70)], ["should be from 0 to 2147483647"]),
        (["train", "--seed", str(2**70)], ["should be less than 2147483648"]),
        (["generate", "RUN", "--device", "abacus"], ["'abacus'", "--device cpu"]),
        (["train", "--resume", "missing"], ["no run at missing"]),
        (["train", "--resume", "bare"], ["no checkpoint"]),
        (["train", "--resume", "flipped"], ["no checkpoint"]),
        (["train", "--resume", "RUN", "--steps", "2"], ["already made 3 steps"]),
        (["train", "--resume", "RUN", "--optimizer", "sgd"], ["leave out --optimizer"]),
        (["train", "--resume", "RUN", "--steps", "0"], ["--steps 0 should be 1 or more"]),
        (["info", "involutoin"], ["did you mean 'involution'?"]),
        (["info", "dot-product, involution"], ["expected", "^"]),
        (["info", "dot-product", "--dim", "0"], ["--dim 0 should be 1 or more"]),
        (["info", "dot-product(heads=3)"], ["heads", "128"]),
    ],
    ids=lambda value: " ".join(value) if value else "",
)
def test_a_mistake_elsewhere(zoo, finished, place, arguments, words):
    before = _contents(place)
    result = zoo(*(finished if part == "RUN" else part for part in arguments))
    assert result.code == 2
    _check_error(result, words)
    assert _contents(place) == before


@pytest.mark.parametrize("context", [100, 1000])  # too long for the validation split, for both
def test_a_dry_run_finds_the_mistakes_of_a_run(zoo, tiny, context):
    for flags in ([], ["--dry-run"]):
        result = zoo("train", *tiny, "--data", "short.txt", "--context", context, *flags)
        assert result.code == 2
        _check_error(result, [f"context={context} is too long", "--context"])


@pytest.mark.slow
def test_a_mixer_that_sees_the_future(zoo, tiny, distribution):
    distribution("acausal-mixers", ACAUSAL)
    seen = "mean is not causal: it would see the next token, which it is to predict; train it with --objective masked"
    for flags in (["train", *tiny, "--mixer", "mean"], ["train", *tiny, "--mixer", "mean", "--dry-run"]):
        result = zoo(*flags)
        assert (result.code, result.err) == (2, f"error: {seen}\n")
    result = zoo("train", "--mixer", "mean", "--data", "mqar", "--device", "cpu")
    targets = "the targets of the task mqar may stand among the later tokens: a task takes causal mixers only"
    assert (result.code, result.err) == (2, f"error: mean is not causal, and {targets}\n")
    result = zoo("compare", "dot-product", "mean", "--data", tiny[tiny.index("--data") + 1], "--out", "comparison")
    assert (result.code, result.err) == (2, f"error: {seen}\n")
    assert zoo("train", *tiny, "--mixer", "mean", "--objective", "masked", "--out", "encoder").code == 0


@pytest.mark.slow
def test_a_run_whose_plugin_is_gone(zoo, tiny, distribution, place, tmp_path):
    distribution("copy-mixers", COPY)
    assert zoo("train", *tiny, "--mixer", "copy", "--out", "run").code == 0
    shutil.rmtree(tmp_path / "site" / "copy_mixers-1.2.dist-info")
    distribution("other-mixers", COPY.replace('"copy"', '"other"'))
    before = _contents(place)
    for arguments in (["generate", "run"], ["train", "--resume", "run", "--steps", 9]):
        result = zoo(*arguments)
        assert result.code == 4
        _check_error(result, ["copy", "'copy-mixers'", "pip install copy-mixers"])
    assert _contents(place) == before


def test_a_place_that_takes_no_folder_is_a_mistake(zoo, tiny):
    result = zoo("train", *tiny, "--out", "old.txt/run")
    assert result.code == 2
    _check_error(result, ["old.txt/run", "--out"])


def _check_error(result, words):
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert result.err.count("error:") == 1
    assert "Traceback" not in result.err
    assert len(result.err.splitlines()) in (1, 3)  # three with a pattern and its caret
    for word in words:
        assert word in result.err


def _contents(place: Path) -> dict[str, bytes]:
    files = (path for path in place.rglob("*") if path.is_file())
    return {str(path.relative_to(place)): path.read_bytes() for path in files}
