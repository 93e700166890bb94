import json
import math

import pytest
import torch

import zoo
from mixers.dot_product import DotProduct
from zoo.errors import UsageError, ZooError
from zoo.train import report
from zoo.train.checkpoint import load_checkpoint, save_checkpoint
from zoo.train.listener import Listener
from zoo.train.run_directory import RunDirectory
from zoo.train.session import Interrupted, resume, start
from zoo.train.settings import validate
from zoo.train.step import TrainingStep


class Recording(Listener):
    def __init__(self, stop_at=None):
        self.losses, self.evaluations, self.notices, self.stop_at = [], [], [], stop_at

    def progress(self, progress):
        self.losses.append(progress.loss)
        if progress.step == self.stop_at:
            import signal

            signal.raise_signal(signal.SIGINT)

    def evaluation(self, step, validation_loss, validation_accuracy, sample):
        self.evaluations.append((step, validation_loss, sample))

    def notice(self, text):
        self.notices.append(text)


def weights(path):
    return zoo.load_run(path).model.state_dict()


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_a_run_learns_and_leaves_everything_behind(tiny, tmp_path):
    listener = Recording()
    summary = start(tiny(), root=tmp_path, out=tmp_path / "run", listener=listener)
    assert len(listener.losses) == 20
    assert listener.losses[-1] < listener.losses[0]
    assert [step for step, _, _ in listener.evaluations] == [7, 14, 20]
    assert summary.steps == 20
    assert summary.bits_per_byte == pytest.approx(summary.validation_loss / math.log(2))
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files >= {
        "config.json", "env.json", "tokenizer.json", "metrics.jsonl", "metrics.csv", "timings.jsonl", "samples.txt",
        "events.jsonl", "summary.json", "loss.png", "report.html", "checkpoints",
    }  # fmt: skip
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["validation_loss"] == summary.validation_loss
    rows = RunDirectory.open(tmp_path / "run").metrics()
    assert [row["step"] for row in rows] == [3, 6, 7, 9, 12, 14, 15, 18, 20]
    assert rows[-1]["validation_loss"] == summary.validation_loss
    assert rows[0]["train_loss"] == pytest.approx(sum(listener.losses[:3]) / 3)


@pytest.mark.slow
def test_the_last_evaluation_takes_the_whole_split_once(tiny, tmp_path):
    summary = start(tiny(final_evaluation_tokens=None), root=tmp_path, out=tmp_path / "run")
    run = zoo.load_run(tmp_path / "run")
    ids = torch.tensor(run.tokenizer.encode(validation_text(tiny)), dtype=torch.int64)
    losses = []
    with torch.no_grad():
        for begin in range(0, len(ids) - 1, 16):
            window = ids[begin : begin + 17]
            logits = run.model(window[None, :-1]).logits[0]
            losses += torch.nn.functional.cross_entropy(logits, window[1:], reduction="none").tolist()
    assert len(losses) == len(ids) - 1
    assert summary.validation_loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def validation_text(tiny):
    from pathlib import Path

    text = Path(tiny().data).read_text()
    return text[int(len(text) * 0.9) :]


@pytest.mark.slow
def test_the_same_settings_give_the_same_run_and_another_seed_another(tiny, tmp_path):
    for name, seed in [("one", 0), ("two", 0), ("three", 1)]:
        start(tiny(seed=seed), root=tmp_path, out=tmp_path / name)
    assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))
    assert not same(weights(tmp_path / "one"), weights(tmp_path / "three"))
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    assert validate(config) == tiny(compile=False)
    start(validate(config), root=tmp_path, out=tmp_path / "four")
    assert same(weights(tmp_path / "one"), weights(tmp_path / "four"))


@pytest.mark.slow
@pytest.mark.parametrize("stop_at", [1, 8, 14, 19])
def test_an_interrupted_run_that_is_resumed_is_the_uninterrupted_run(tiny, tmp_path, stop_at):
    start(tiny(), root=tmp_path, out=tmp_path / "whole")
    listener = Recording(stop_at)
    with pytest.raises(Interrupted, match="--resume"):
        start(tiny(), root=tmp_path, out=tmp_path / "cut", listener=listener)
    assert len(listener.losses) == stop_at
    assert "Ctrl-C again" in listener.notices[0]
    resume(tmp_path / "cut")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    for name in ("metrics.jsonl", "samples.txt", "metrics.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    events = [event["event"] for event in RunDirectory.open(tmp_path / "cut").events()]
    assert events == ["started", "interrupted", "resumed", "finished"]


@pytest.mark.slow
def test_resuming_falls_back_over_a_damaged_checkpoint_and_says_so(tiny, tmp_path):
    start(tiny(), root=tmp_path, out=tmp_path / "run")
    before = weights(tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "step-00000020" / "model.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    listener = Recording()
    resume(tmp_path / "run", listener=listener)
    assert "step-00000020 is damaged" in listener.notices[0]
    assert "step-00000015" in listener.notices[0]
    assert len(listener.losses) == 5
    assert same(before, weights(tmp_path / "run"))


@pytest.mark.slow
@pytest.mark.parametrize("page", ["write_metrics_csv", "draw_curve", "write_report"])
def test_a_kill_while_the_pages_are_made_costs_none_of_them(tiny, tmp_path, monkeypatch, page):
    class Killed(BaseException):
        pass

    def die(*args, **given):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory if page == "write_metrics_csv" else report, page, die)
        with pytest.raises(Killed):
            start(tiny(), root=tmp_path, out=tmp_path / "run")
    assert resume(tmp_path / "run").steps == 20
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files >= {"summary.json", "metrics.csv", "loss.png", "report.html"}


def test_a_log_that_cannot_be_read_is_reported_before_the_first_step(tiny, tmp_path):
    with pytest.raises(Interrupted):
        start(tiny(), root=tmp_path, out=tmp_path / "run", listener=Recording(stop_at=10), pages=False)
    log, listener = tmp_path / "run" / "metrics.jsonl", Recording()
    log.write_text(log.read_text().replace('"step"', '"stap"', 1))
    with pytest.raises(UsageError, match=r"metrics\.jsonl is damaged in line 1: fix or remove that line"):
        resume(tmp_path / "run", listener=listener)
    assert listener.losses == []


@pytest.mark.slow
def test_a_run_can_go_on_beyond_its_last_step_but_not_back(tiny, tmp_path):
    start(tiny(), root=tmp_path, out=tmp_path / "run")
    with pytest.raises(UsageError, match="already made 20 steps; `steps`=10 would go back"):
        resume(tmp_path / "run", steps=10)
    first = json.loads((tmp_path / "run" / "summary.json").read_text())["seconds"]
    further = resume(tmp_path / "run", steps=30)
    assert further.steps == 30
    assert further.seconds > first
    assert RunDirectory.open(tmp_path / "run").config["steps"] == 30
    assert resume(tmp_path / "run").seconds > further.seconds - 0.5  # there was nothing left to do


@pytest.mark.slow
def test_resuming_with_other_data_is_refused(tiny, text, tmp_path):
    start(tiny(), root=tmp_path, out=tmp_path / "run")
    text.write_text(text.read_text() + "more\n")
    with pytest.raises(UsageError, match="has changed since the run began"):
        resume(tmp_path / "run", steps=30)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_before_the_update(tiny, tmp_path, monkeypatch):
    backward, seen = TrainingStep._backward, {"calls": 0}

    def poisoned(self, own, weights):
        pairs = backward(self, own, weights)
        seen["calls"] += 1
        if seen["calls"] < 8:
            return pairs
        seen["weights"] = {name: value.clone() for name, value in self.model.state_dict().items()}
        seen["model"] = self.model
        return [(torch.tensor(math.nan), metrics) for _, metrics in pairs]

    monkeypatch.setattr(TrainingStep, "_backward", poisoned)
    with pytest.raises(ZooError, match="the loss of step 8 is not finite") as caught:
        start(tiny(), root=tmp_path, out=tmp_path / "run")
    assert caught.value.exit_code == 1
    assert "Batch offsets" in str(caught.value)
    assert same(seen["weights"], seen["model"].state_dict())
    event = RunDirectory.open(tmp_path / "run").events()[-1]
    assert event["event"] == "not finite"
    assert len(event["offsets"][0]) == 2


@pytest.mark.slow
def test_micro_batches_add_up_to_the_batch(tiny, tmp_path):
    """The gradient of a step is that of all its targets; each micro-batch is drawn by a number of its own."""
    from zoo.data.batches import draw_batch
    from zoo.data.dataset import prepare

    settings = tiny(accumulate=3, steps=1, dropout=0.0, clip=1e9)
    listener = Recording()
    start(settings, root=tmp_path, out=tmp_path / "run", listener=listener)
    dataset = prepare(settings.data, "byte")
    torch.manual_seed(settings.seed)
    model = zoo.build_model("dot-product", vocab_size=256, dim=16, layers=1, heads=2, context=16)
    batches = [draw_batch(dataset.train, context=16, batch=2, seed=0, step=micro) for micro in range(3)]
    loss = sum(model(batch.inputs, batch.targets).loss for batch in batches) / 3
    assert listener.losses == pytest.approx([loss.item()], rel=1e-5)
    loss.backward()
    norm = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).norm()
    (row,) = RunDirectory.open(tmp_path / "run").metrics()
    assert row["gradient_norm"] == pytest.approx(norm.item(), rel=1e-4)


@pytest.mark.slow
def test_out_of_time_ends_a_run_properly(tiny, tmp_path):
    summary = start(tiny(steps=10_000_000, max_time=0.5), root=tmp_path, out=tmp_path / "run")
    assert 0 < summary.steps < 10_000_000
    assert math.isfinite(summary.validation_loss)
    assert (tmp_path / "run" / "report.html").exists()


def test_a_context_that_the_data_cannot_fill(tiny, tmp_path):
    with pytest.raises(UsageError, match="context=100000 is too long"):
        start(tiny(context=100_000), root=tmp_path, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("stem", "change"),
    [
        ("model", {"embedding.weight": torch.zeros(3, 5)}),
        ("model", {"of.another.model": torch.zeros(1)}),
        ("optimizer", {"of.another.model|exp_avg": torch.zeros(1)}),
        ("optimizer", {"embedding.weight|exp_avg": torch.zeros(0)}),
    ],
)
def test_a_checkpoint_of_another_model_is_told_in_a_line(tiny, tmp_path, stem, change):
    start(tiny(steps=2), root=tmp_path, out=tmp_path / "run", pages=False)
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoints")
    tensors = {**checkpoint.tensors, stem: {**checkpoint.tensors[stem], **change}}
    given = {"tensors": tensors, "progress": checkpoint.progress, "keep": 1}
    save_checkpoint(tmp_path / "run" / "checkpoints", 2, **given)
    text = r"^the checkpoint does not fit the model that its settings and plugins build now: .+$"
    with pytest.raises(UsageError, match=text):
        resume(tmp_path / "run", steps=3)
    if stem == "model":
        with pytest.raises(UsageError, match=text):
            zoo.load_run(tmp_path / "run")


@pytest.mark.parametrize("change", [{"seconds": "1"}, {"loss_sum": None}, {"logs": []}, {"train_loss": "x"}])
def test_progress_of_another_shape_is_told_in_a_line(tiny, tmp_path, change):
    start(tiny(steps=2), root=tmp_path, out=tmp_path / "run", pages=False)
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoints")
    given = {"tensors": checkpoint.tensors, "progress": {**checkpoint.progress, **change}, "keep": 1}
    save_checkpoint(tmp_path / "run" / "checkpoints", 2, **given)
    with pytest.raises(UsageError, match="step-00000002 holds no progress of a run: put back a good copy, or remove"):
        resume(tmp_path / "run", steps=3)


@pytest.mark.parametrize(
    "plugins", [None, [], {"x": 1}, {"x": {"version": "1"}}, {"x": {"distribution": 1, "version": "1"}}]
)
def test_an_environment_that_records_no_plugins_is_told_in_a_line(tiny, tmp_path, plugins):
    start(tiny(steps=2), root=tmp_path, out=tmp_path / "run", pages=False)
    run = RunDirectory.open(tmp_path / "run")
    run.write_environment(run.environment | {"plugins": plugins})
    for read in (zoo.load_run, lambda path: resume(path, steps=3)):
        with pytest.raises(UsageError, match=r"env\.json is damaged \(it records no plugins\): put back a good copy"):
            read(tmp_path / "run")


@pytest.mark.parametrize("change", [{"data_path": 3.5}, {"data_sha256": None}])
def test_an_environment_that_records_no_data_is_told_in_a_line(tiny, tmp_path, change):
    start(tiny(steps=2), root=tmp_path, out=tmp_path / "run", pages=False)
    run = RunDirectory.open(tmp_path / "run")
    run.write_environment(run.environment | change)
    with pytest.raises(UsageError, match=r"env\.json is damaged \(it records no data\): put back a good copy"):
        resume(tmp_path / "run", steps=3)


@pytest.mark.slow
def test_activation_checkpointing_and_bf16_train_too(tiny, tmp_path, monkeypatch):
    calls, forward = [], DotProduct.forward

    def counted(self, x):
        written = forward(self, x)
        calls.append((self.training, written.dtype))
        return written

    def trained(name, **changes):
        calls.clear()
        summary = start(tiny(**changes), root=tmp_path, out=tmp_path / name)
        return summary.validation_loss, sum(training for training, _ in calls), {dtype for _, dtype in calls}

    monkeypatch.setattr(DotProduct, "forward", counted)
    loss, *rest = trained("plain")
    assert rest == [20, {torch.float32}]
    assert trained("recomputed", activation_checkpointing=True) == (pytest.approx(loss, rel=1e-6), 40, {torch.float32})
    assert trained("half", precision="bf16") == (pytest.approx(loss, rel=0.02), 20, {torch.bfloat16})


@pytest.mark.slow
def test_a_loaded_run_speaks(tiny, tmp_path):
    start(tiny(), root=tmp_path, out=tmp_path / "run")
    run = zoo.load_run(tmp_path / "run")
    said = "".join(run.generate("def ", tokens=30, seed=3))
    assert said == "".join(run.generate("def ", tokens=30, seed=3))
    assert said != "".join(run.generate("def ", tokens=30, seed=4))
    assert len(said.encode()) >= 30
    assert run.step == 20


@pytest.mark.slow
def test_a_run_from_a_machine_with_another_device_is_refused_in_a_line(tiny, tmp_path):
    start(tiny(), root=tmp_path, out=tmp_path / "run")
    run = RunDirectory.open(tmp_path / "run")
    run.write_config(run.config | {"device": "abacus"})
    with pytest.raises(UsageError, match=r"^device 'abacus' cannot be used here; try `device`=cpu$"):
        resume(tmp_path / "run", steps=30)


@pytest.mark.slow
def test_a_plugin_in_another_version_is_told_and_noted(tiny, tmp_path):
    start(tiny(schedule="constant"), root=tmp_path, out=tmp_path / "run")
    run, listener = RunDirectory.open(tmp_path / "run"), Recording()
    resume(tmp_path / "run", steps=22, listener=listener)
    assert listener.notices == []
    plugins = run.environment["plugins"]
    now = plugins["dot-product"]["version"]
    plugins["dot-product"]["version"] = "0.0.7"
    run.write_environment(run.environment | {"plugins": plugins})
    resume(tmp_path / "run", steps=24, listener=listener)
    told = f"dot-product comes from mixer-zoo {now}, and came from 0.0.7 when this began"
    assert listener.notices == [told]
    assert [event["how"] for event in run.events() if event["event"] == "plugin changed"] == [told]
