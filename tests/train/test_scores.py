"""What each sequence scored adds up to what the run reports."""

import numpy as np
import pytest

from zoo.errors import UsageError
from zoo.train.resolve import resolve
from zoo.train.scores import FILE, read_scores
from zoo.train.session import resume, start

TINY = {"mixer": "involution", "layers": 1, "dim": 16, "heads": 1, "batch": 4, "steps": 4, "device": "cpu"}


@pytest.fixture(params=["in-context-recall(length=12, vocab=6, examples=40)", "python-stdlib"])
def run(request, tmp_path):
    evaluated = ["evaluate_every=2", "sample_tokens=0", "final_evaluation_tokens=3000", "precision=fp32"]
    made = resolve(flags=TINY | {"data": request.param}, assignments=evaluated)
    return start(made, root=tmp_path, out=tmp_path / "run", pages=False), tmp_path / "run"


@pytest.mark.slow
def test_the_scores_add_up(run):
    summary, folder = run
    table = read_scores(folder)
    assert table["nats"].sum() / table["targets"].sum() == pytest.approx(summary.validation_loss, rel=1e-6)
    assert table["correct"].sum() / table["scored"].sum() == summary.validation_accuracy
    assert (table["correct"] <= table["scored"]).all()
    assert (table["scored"] <= table["targets"]).all()
    assert len(set(map(len, table.values()))) == 1
    assert len(table["nats"]) > 20


@pytest.mark.slow
def test_a_run_that_comes_back_after_its_end_measures_them_again(run):
    _, folder = run
    before = (folder / FILE).read_bytes()
    (folder / FILE).unlink()
    (folder / "summary.json").unlink()  # it was killed before it had written its figures
    resume(folder, pages=False)
    assert (folder / FILE).read_bytes() == before


@pytest.mark.slow
def test_a_bit_that_has_changed_is_found(run):
    _, folder = run
    content = bytearray((folder / FILE).read_bytes())
    content[-3] ^= 1
    (folder / FILE).write_bytes(content)
    with pytest.raises(UsageError, match="has changed since it was written"):
        read_scores(folder)


def test_none_and_damaged_ones(tmp_path):
    assert read_scores(tmp_path) is None
    (tmp_path / FILE).write_bytes(b"\x00" * 20)
    with pytest.raises(UsageError, match=rf"^{tmp_path / FILE} is damaged \(.*\): put back a good copy"):
        read_scores(tmp_path)


@pytest.mark.slow
def test_sequences_are_told_apart_by_their_row(run):
    """Where only some positions are predicted at, each counts for its own sequence."""
    _, folder = run
    table = read_scores(folder)
    assert np.isin(table["scored"], np.arange(0, 1000)).all()
    assert table["scored"].min() >= 1
