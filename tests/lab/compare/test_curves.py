import numpy as np
import pytest

from zoo.lab.compare.curves import read_curve
from zoo.lab.compare.folder import Folder
from zoo.lab.compare.results import gather

from .samples import plan, summary, write_run


def curve(tmp_path, runs, metric="accuracy"):
    """Of one arm whose seeds made these evaluations: (step, seconds, accuracy, loss); None for one that failed."""
    made, folder = plan("correlation", seeds=len(runs)), Folder(tmp_path)
    for trial, rows in zip(made.results(0, made.only_lr(0)), runs, strict=True):
        told = {"error": "no"} if rows is None else {"told": summary(0.5)}
        write_run(folder, made, trial, curve=rows or [(10, 1.0, 0.9, 0.1)], **told)
    return read_curve(made, folder, gather(made, folder).data[0].arms[0], metric)


@pytest.mark.slow
def test_mean_lowest_and_highest_of_the_seeds(tmp_path):
    found = curve(tmp_path, [[(10, 1.0, 0.2, 3.0), (20, 2.0, 0.4, 2.0)], [(10, 3.0, 0.4, 2.0), (20, 5.0, 0.8, 1.0)]])
    assert found.steps.tolist() == [10, 20]
    assert found.seconds == pytest.approx([2.0, 3.5])
    assert found.mean == pytest.approx([0.3, 0.6])
    assert (found.low.tolist(), found.high.tolist()) == ([0.2, 0.4], [0.4, 0.8])
    # a batch of 2 sequences of 12 tokens, 10,000 operations each
    assert found.flops.tolist() == [10 * 2 * 12 * 10_000, 20 * 2 * 12 * 10_000]


@pytest.mark.slow
def test_the_loss_is_another_column(tmp_path):
    found = curve(tmp_path, [[(10, 1.0, 0.2, 3.0), (20, 2.0, 0.4, 2.0)]], "loss")
    assert found.mean.tolist() == [3.0, 2.0]


def test_a_run_that_was_good_enough_early_stays_where_it_stopped(tmp_path):
    """The fast seed goes on; time does not run backwards although the slow one is not in its mean any more."""
    slow = [(10, 10.0, 1.0, 0.0)]
    fast = [(10, 1.0, 0.5, 1.0), (20, 2.0, 0.75, 0.5), (30, 3.0, 1.0, 0.0)]
    found = curve(tmp_path, [slow, fast])
    assert found.steps.tolist() == [10, 20, 30]
    assert found.mean.tolist() == [0.75, 0.875, 1.0]
    assert found.low.tolist() == [0.5, 0.75, 1.0]
    assert found.seconds.tolist() == [5.5, 6.5, 7.5]
    assert (np.diff(found.seconds) > 0).all()


def test_runs_that_failed_are_left_out(tmp_path):
    found = curve(tmp_path, [None, [(10, 1.0, 0.5, 1.0)]])
    assert (found.mean.tolist(), found.high.tolist()) == ([0.5], [0.5])
    assert curve(tmp_path / "none", [None, None]) is None


def test_a_run_that_is_under_way_is_left_out(tmp_path):
    made, folder = plan("correlation", seeds=2), Folder(tmp_path)
    first, second = made.results(0, made.only_lr(0))
    write_run(folder, made, first, summary(0.8), curve=[(10, 1.0, 0.4, 1.0), (20, 2.0, 0.8, 1.0)])
    write_run(folder, made, second, curve=[(10, 1.0, 0.2, 1.0)])
    found = read_curve(made, folder, gather(made, folder).data[0].arms[0], "accuracy")
    assert found.mean.tolist() == [0.4, 0.8]
