"""A run that is given a later last step."""

import json
import shutil

import pytest

from zoo.train.checkpoint import load_checkpoint
from zoo.train.listener import Listener
from zoo.train.optimizer import learning_rate
from zoo.train.run_directory import RunDirectory
from zoo.train.session import Interrupted, resume, start


class Recording(Listener):
    def __init__(self, stop_at=None):
        self.notices, self.steps, self.stop_at = [], [], stop_at

    def progress(self, progress):
        self.steps.append(progress.step)
        if progress.step == self.stop_at:
            import signal

            signal.raise_signal(signal.SIGINT)

    def notice(self, text):
        self.notices.append(text)


@pytest.fixture
def wsd(tiny):
    """Of 20 steps, the last 5 of them decay; checkpoints at 5, 10, 15 and 20, of which two are kept."""
    return lambda **changes: tiny(**{"schedule": "wsd", "decay": 0.25, "lr_final": 0.0} | changes)


def ends_as(first, second):
    """Whether two runs ended with the same weights and the same metrics, byte for byte."""
    newest = [load_checkpoint(path / "checkpoints").path / "model.safetensors" for path in (first, second)]
    logs = [(first / name, second / name) for name in ("metrics.jsonl", "samples.txt")]
    return all(one.read_bytes() == other.read_bytes() for one, other in [newest, *logs])


def events(path, kind):
    return [event for event in RunDirectory.open(path).events() if event["event"] == kind]


@pytest.mark.slow
@pytest.mark.parametrize("stop_at", [3, 10, 15])
def test_before_the_decay_wsd_is_prolonged_exactly(wsd, tmp_path, stop_at):
    start(wsd(steps=32), root=tmp_path, out=tmp_path / "whole")
    with pytest.raises(Interrupted):
        start(wsd(), root=tmp_path, out=tmp_path / "cut", listener=Recording(stop_at))
    listener = Recording()
    resume(tmp_path / "cut", steps=32, listener=listener)
    assert listener.steps == list(range(stop_at + 1, 33))
    assert listener.notices == []
    assert ends_as(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.slow
def test_a_finished_run_of_wsd_is_prolonged_exactly_and_nothing_is_lost(wsd, tmp_path):
    """It goes back to the checkpoint that was saved when the decay began, here at step 16."""
    start(wsd(decay=0.2, keep_checkpoints=1), root=tmp_path, out=tmp_path / "run")
    start(wsd(decay=0.2, steps=32), root=tmp_path, out=tmp_path / "other")
    shutil.copytree(tmp_path / "run", tmp_path / "before")
    listener = Recording()
    resume(tmp_path / "run", steps=32, listener=listener)
    assert listener.steps == list(range(17, 33))
    (told,) = listener.notices
    assert told.startswith("going back to step 16, from where the learning rate does not fall yet")
    assert told.endswith("the checkpoint of step 20 is kept as step-00000020.decayed")
    assert [(event["step"], event["before"]) for event in events(tmp_path / "run", "went back")] == [(16, 20)]
    assert events(tmp_path / "run", "learning rate rises") == []
    assert ends_as(tmp_path / "other", tmp_path / "run")
    kept, was = (tmp_path / name / "checkpoints" for name in ("run", "before"))
    for file in ("model.safetensors", "optimizer.safetensors", "manifest.json"):
        aside = kept / "step-00000020.decayed" / file
        assert aside.read_bytes() == (was / "step-00000020" / file).read_bytes()


@pytest.mark.slow
def test_what_can_be_told_before_it_is_checked_leaves_the_checkpoints_alone(wsd, text, tmp_path):
    start(wsd(), root=tmp_path, out=tmp_path / "run")
    before = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    text.write_text(text.read_text() + "more\n")
    with pytest.raises(ValueError, match="has changed"):
        resume(tmp_path / "run", steps=30)
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == before


@pytest.mark.slow
def test_after_the_decay_the_rate_rises_and_it_says_so(wsd, tmp_path):
    start(wsd(lr_final=0.1), root=tmp_path, out=tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-00000015")
    listener = Recording()
    resume(tmp_path / "run", steps=40, listener=listener)
    assert listener.steps[0] == 21
    assert listener.notices == [
        "the learning rate rises again, from 0.0001 to 0.001, because the last step is now 40 and was 20"
    ]
    (event,) = events(tmp_path / "run", "learning rate rises")
    assert (event["step"], event["before"], event["after"]) == (20, pytest.approx(1e-4), 1e-3)


@pytest.mark.slow
def test_so_does_a_cosine(tiny, tmp_path):
    start(tiny(), root=tmp_path, out=tmp_path / "run")
    listener = Recording()
    resume(tmp_path / "run", steps=40, listener=listener)
    after = learning_rate(tiny(steps=40), 20)
    assert after == pytest.approx(6.33e-4, rel=1e-3)  # 1e-4 + 9e-4 (1 + cos(15 π / 34)) / 2
    assert listener.notices == [
        f"the learning rate rises again, from 0.0001 to {after:.3g}, because the last step is now 40 and was 20; "
        "with schedule=wsd a run can be prolonged without that"
    ]
    assert [event["after"] for event in events(tmp_path / "run", "learning rate rises")] == [after]


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "stop_at"), [(None, 10), (20, 10), (12, 10), (40, 2)])
def test_a_rate_that_does_not_rise_is_not_spoken_of(tiny, tmp_path, steps, stop_at):
    """Resuming alone, a nearer end, or a later one during the warm-up."""
    with pytest.raises(Interrupted):
        start(tiny(), root=tmp_path, out=tmp_path / "run", listener=Recording(stop_at))
    listener = Recording()
    resume(tmp_path / "run", steps=steps, listener=listener)
    assert listener.notices == []


@pytest.mark.slow
def test_a_run_from_before_there_were_schedules_is_a_cosine(tiny, tmp_path):
    start(tiny(), root=tmp_path, out=tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    values = json.loads(config.read_text())
    assert (values.pop("schedule"), values.pop("decay")) == ("cosine", 0.2)
    config.write_text(json.dumps(values))
    (tmp_path / "run" / "manifest.json").unlink()  # nor were there checksums
    assert resume(tmp_path / "run", steps=24).steps == 24
    assert RunDirectory.open(tmp_path / "run").config["schedule"] == "cosine"
