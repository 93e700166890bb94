"""Several processes train one model: as one process would, bit for bit where they can; and fail together."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import zoo
from zoo import TokenMixer, UsageError
from zoo.cli.main import run as command_line
from zoo.errors import ElsewhereError, PluginError, ZooError
from zoo.train import manifest
from zoo.train.checkpoint import load_checkpoint
from zoo.train.continuing import _has_started, start_or_resume
from zoo.train.engine.launch import is_launched
from zoo.train.engine.process_group import LostError, ProcessGroup
from zoo.train.engine.ranks import Ranks
from zoo.train.interrupts import Interrupts
from zoo.train.run_directory import RunDirectory
from zoo.train.session import Interrupted, resume, start
from zoo.train.step import NotFiniteError

from .ranks import fork, kill, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]

MQAR = "mqar(pairs=2, length=16, vocab=32)"

EXHAUSTIVE = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
PATTERNS = ["dot-product", "leviathan-moe(experts=4)", "gated-deltanet"]
HYBRIDS = ["correlation*3, involution"]
if EXHAUSTIVE:
    PATTERNS += ["correlation", "involution", "mamba2", "slstm", *HYBRIDS, "gated-deltanet*3, dot-product"]
    HYBRIDS += ["leviathan-moe(experts=4)"]
KILLS = 20 if EXHAUSTIVE else 3


def outcome(path: Path) -> dict[str, bytes]:
    """What has to be the same: weights, optimizer, settings, metrics, samples, scores."""
    last = max((path / "checkpoints").iterdir())
    files = sorted(last.glob("*.safetensors"))
    files += [path / name for name in ("config.json", "metrics.jsonl", "samples.txt", "scores.safetensors")]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Of the model, and their average where the run keeps one."""
    files = [path for path in max((path / "checkpoints").iterdir()).glob("*.safetensors") if path.stem != "optimizer"]
    return {f"{file.stem} {name}": value for file in files for name, value in load_file(file).items()}


def difference(path: Path, other: Path) -> float:
    first, second = weights(path), weights(other)
    assert first.keys() == second.keys()
    return max((first[name] - second[name]).abs().max().item() for name in first)


def train(settings, path, ranks=None):
    return start(settings, root=path.parent, out=path, pages=False, ranks=ranks)


def resume_copy(path, count, *, steps):
    """Have so many processes go on with a copy of a run; returns the folder of the copy."""
    copy = shutil.copytree(path, path.with_name(f"{path.name}-by-{count}"))
    going_on = partial(resume, copy, steps=steps, pages=False)
    if count == 1:
        going_on()
    else:
        assert run(count, lambda ranks: going_on(ranks=ranks)) == [0] * count
    return copy


# The same as one process


@pytest.fixture
def _little_to_test(monkeypatch):
    """Runs are tested on less than they are by default, which takes longer than their steps."""
    monkeypatch.setattr("zoo.tasks.recall.mqar.MultiQueryRecall.test_examples", 200)


@pytest.mark.usefixtures("_little_to_test")
@pytest.mark.parametrize(("pattern", "data"), [*product(PATTERNS, ["text"]), *product(HYBRIDS, [MQAR])])
def test_two_ranks_train_bit_for_bit_as_one_process(tiny, text, tmp_path, pattern, data):
    settings = tiny(
        mixer=pattern,
        layers=4 if "," in pattern else 2,
        data=str(text) if data == "text" else data,
        accumulate=2,
        activation_checkpointing=True,
    )
    train(settings, tmp_path / "one")
    assert run(2, lambda ranks: train(settings, tmp_path / "two", ranks)) == [0, 0]
    assert outcome(tmp_path / "two") == outcome(tmp_path / "one")


@pytest.mark.parametrize(
    "change", [{"channel_mixer": "moe"}, {"precision": "bf16", "ema": 0.9}, {"accumulate": 4, "batch": 1}]
)
def test_they_do_so_with_experts_in_bfloat16_and_but_for_rounding_with_more_micro_batches(tiny, tmp_path, change):
    settings = tiny(**{"accumulate": 2} | change)
    train(settings, tmp_path / "one")
    assert run(2, lambda ranks: train(settings, tmp_path / "two", ranks)) == [0, 0]
    if "accumulate" in change:  # a + b + c + d is not (a + b) + (c + d)
        assert difference(tmp_path / "two", tmp_path / "one") < 1e-6
    else:
        assert outcome(tmp_path / "two") == outcome(tmp_path / "one")


@pytest.mark.parametrize(("pattern", "count"), [*product(PATTERNS, [2]), *product(HYBRIDS, [4])])
def test_a_model_in_parts_is_trained_as_by_one_process(tiny, tmp_path, pattern, count):
    """AdamW divides a gradient by its size: where that is rounding alone, as of some biases, rounding makes steps.

    Another order of the sums does the same to one process; SGD makes no more of it than it is.
    """
    optimizer = "sgd" if "delta" in pattern or pattern == "slstm" else "adamw"
    layers = 4 if "," in pattern else 2
    settings = tiny(mixer=pattern, layers=layers, accumulate=4, engine="fsdp", optimizer=optimizer, steps=10)
    train(settings, tmp_path / "one")
    assert run(count, lambda ranks: train(settings, tmp_path / "many", ranks)) == [0] * count
    assert difference(tmp_path / "many", tmp_path / "one") < 1e-5
    assert "".join(zoo.load_run(tmp_path / "many").generate("def", tokens=4))


# Checkpoints


@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_what_two_ranks_saved_is_resumed_by_any_number(tiny, tmp_path, engine):
    settings = tiny(mixer="correlation, leviathan-moe(experts=4)", layers=2, accumulate=4, engine=engine, ema=0.9)
    half = settings.model_copy(update={"steps": 5, "schedule": "constant"})
    whole = half.model_copy(update={"steps": 10})
    assert run(2, lambda ranks: train(whole, tmp_path / "straight", ranks)) == [0, 0]
    assert run(2, lambda ranks: train(half, tmp_path / "two", ranks)) == [0, 0]
    for count in (1, 2, 4):
        resumed = resume_copy(tmp_path / "two", count, steps=10)
        assert difference(resumed, tmp_path / "straight") <= (0 if count == 2 else 1e-5), count


def test_parts_that_two_ranks_wrote_are_read_by_any_number(tiny, tmp_path):
    settings = tiny(mixer="correlation, leviathan-moe(experts=4)", layers=2, accumulate=6, engine="fsdp", batch=1)
    half = settings.model_copy(update={"steps": 5, "schedule": "constant", "checkpoints": "sharded", "ema": 0.9})
    whole = half.model_copy(update={"steps": 10})
    assert run(2, lambda ranks: train(whole, tmp_path / "straight", ranks)) == [0, 0]
    assert run(2, lambda ranks: train(half, tmp_path / "two", ranks)) == [0, 0]
    names = {path.name for path in (tmp_path / "two/checkpoints/step-00000005").iterdir()}
    assert sorted(name[:11] for name in names) == ["manifest.js", "progress.js", "shard-00001", "shard-00002"]
    assert "".join(zoo.load_run(tmp_path / "two").generate("def", tokens=4))
    for count in (1, 2, 3):
        resumed = resume_copy(tmp_path / "two", count, steps=10)
        first, second = (load_checkpoint(path / "checkpoints") for path in (tmp_path / "straight", resumed))
        assert first.step == second.step == 10
        for stem in ("model", "optimizer", "ema"):
            assert first.tensors[stem].keys() == second.tensors[stem].keys()
            apart = max((value - second.tensors[stem][name]).abs().max() for name, value in first.tensors[stem].items())
            assert apart <= (0 if count == 2 else 1e-5), (count, stem)


def test_a_disk_that_is_full_for_one_part_is_told_in_a_line(tiny, tmp_path, monkeypatch):
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter as Writer

    settings = tiny(accumulate=2, engine="fsdp", checkpoints="sharded", steps=5)
    write = Writer.write_data

    def told(ranks):
        def full(self, *given, **named):
            if ranks.rank == 1:
                raise OSError(28, "No space left on device")
            return write(self, *given, **named)

        monkeypatch.setattr(Writer, "write_data", full)
        with pytest.raises(ZooError if ranks.is_first else ElsewhereError, match=r"No space left|another process"):
            train(settings, tmp_path / "run", ranks)

    assert run(2, told) == [0, 0]
    assert not list(tmp_path.glob("run/checkpoints/step-*"))


def test_a_part_that_has_changed_is_found_out(tiny, tmp_path):
    settings = tiny(accumulate=2, engine="fsdp", checkpoints="sharded", steps=5)
    assert run(2, lambda ranks: train(settings, tmp_path / "run", ranks)) == [0, 0]
    (part,) = (tmp_path / "run/checkpoints/step-00000005").glob("shard-00002-*")
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)
    rejected = load_checkpoint(tmp_path / "run/checkpoints").rejected
    assert [reason for _, reason in rejected] == [f"{part.name} has changed since it was written"]


@pytest.mark.parametrize("optimizer", ["lion", "muon", "sgd"])
def test_every_optimizer_trains_a_model_in_parts(tiny, tmp_path, optimizer):
    settings = tiny(mixer="correlation", layers=2, accumulate=2, engine="fsdp", optimizer=optimizer, steps=6)
    train(settings, tmp_path / "one")
    assert run(2, lambda ranks: train(settings, tmp_path / "two", ranks)) == [0, 0]
    assert difference(tmp_path / "two", tmp_path / "one") < 1e-5


class Counter(TokenMixer):
    """Counts in its forward pass, which each rank does for its own share."""

    def __init__(self, dim):
        super().__init__()
        self.project = nn.Linear(dim, dim)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += x.detach().sum()
        return self.project(x)

    def step(self, x, state=None):
        return self(x), state


def test_buffers_that_drift_apart_are_found_out(tiny, tmp_path, capfd):
    zoo.register("counter", Counter)
    settings = tiny(mixer="counter", accumulate=2)
    assert run(2, lambda ranks: train(settings, tmp_path / "run", ranks)) == [PluginError.exit_code] * 2
    assert "the buffer layers.0.mixers.0.seen differs between the processes" in capfd.readouterr().err


class Chooses(TokenMixer):
    """One of two weights is used, as the reads say: on each rank another one, or the same."""

    def __init__(self, dim):
        super().__init__()
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(dim) / dim**0.5) for _ in range(2))

    def forward(self, x):
        return x * self.weights[int(x[0, 0, 0] > 0)]

    def step(self, x, state=None):
        return self(x), state


@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_a_rank_may_leave_a_parameter_unused(tiny, tmp_path, engine):
    zoo.register("chooses", Chooses)
    settings = tiny(mixer="chooses", accumulate=2, engine=engine)
    if engine == "fsdp":  # which gives a parameter that no rank used a gradient of zeros, and an optimizer may use that
        settings = settings.model_copy(update={"optimizer": "sgd(momentum=0.0)", "weight_decay": 0.0})
    train(settings, tmp_path / "one")
    assert run(2, lambda ranks: train(settings, tmp_path / "two", ranks)) == [0, 0]
    assert difference(tmp_path / "two", tmp_path / "one") <= (0 if engine == "ddp" else 1e-5)


# Ends


class StoppedOnOne(Interrupts):
    """A signal that reaches the last rank alone, in its third step."""

    def __init__(self, ranks):
        super().__init__()
        self.looks, self.ranks = 0, ranks

    @property
    def requested(self):
        self.looks += 1
        return self.ranks.rank == self.ranks.count - 1 and self.looks > 3

    @requested.setter
    def requested(self, value):
        pass


def test_a_signal_to_one_rank_stops_all_and_the_run_goes_on_as_if_nothing_had_been(tiny, tmp_path):
    settings = tiny(accumulate=2)
    assert run(2, lambda ranks: train(settings, tmp_path / "whole", ranks)) == [0, 0]

    def stopped(ranks):
        with pytest.raises(Interrupted):
            start(settings, root=tmp_path, out=tmp_path / "cut", interrupts=StoppedOnOne(ranks), ranks=ranks)

    assert run(2, stopped) == [0, 0]
    assert (tmp_path / "cut/checkpoints/step-00000004").is_dir()
    assert run(2, lambda ranks: resume(tmp_path / "cut", pages=False, ranks=ranks)) == [0, 0]
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


def test_a_time_limit_and_a_wanted_accuracy_end_all_ranks_at_the_same_step(tiny, tmp_path):
    limited = tiny(accumulate=2, steps=100_000, max_time=0.5, evaluate_every=10_000, checkpoint_every=10_000)
    assert run(2, lambda ranks: train(limited, tmp_path / "limited", ranks)) == [0, 0]
    reached = tiny(accumulate=2, stop_accuracy=1e-6)
    assert run(2, lambda ranks: train(reached, tmp_path / "reached", ranks)) == [0, 0]
    assert RunDirectory(tmp_path / "reached").summary.steps < 20


def test_a_mistake_is_told_by_one_rank(tiny, tmp_path, capfd):
    def told(ranks):
        with pytest.raises(UsageError if ranks.is_first else ElsewhereError):
            train(tiny(accumulate=3), tmp_path / "run", ranks)

    assert run(2, told) == [0, 0]
    (tmp_path / "run").mkdir()
    assert run(2, lambda ranks: train(tiny(accumulate=2), tmp_path / "run", ranks), keep_quiet=True) == [2, 2]
    assert not list((tmp_path / "run").iterdir())


def test_a_failure_on_one_rank_alone_is_told_by_that_one(tiny, text, tmp_path):
    def told(ranks):
        data = str(text) if ranks.is_first else str(tmp_path / "missing.txt")
        with pytest.raises(ElsewhereError if ranks.is_first else UsageError):
            train(tiny(accumulate=2, data=data), tmp_path / "run", ranks)

    assert run(2, told) == [0, 0]


def test_a_loss_that_is_not_finite_on_one_rank_stops_all(tiny, tmp_path):
    settings = tiny(accumulate=2, lr=1e30, clip=None)

    def told(ranks):
        with pytest.raises(NotFiniteError, match="is not finite"):
            train(settings, tmp_path / f"run-{settings.engine}", ranks)

    assert run(2, told) == [0, 0]
    settings = settings.model_copy(update={"engine": "fsdp"})
    assert run(2, told) == [0, 0]
    events = RunDirectory(tmp_path / "run-auto").events()
    assert [event["event"] for event in events] == ["started", "not finite"]
    assert len(events[1]["offsets"]) == 2


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"accumulate": 3}, "2 processes cannot evenly share 3 micro-batches a step: use `accumulate`=4"),
        ({"accumulate": 2, "engine": "single"}, "`engine`=single trains in one process"),
        ({"accumulate": 2, "device": "cuda:1"}, "one device for 2 processes: say cuda"),
    ],
)
def test_settings_for_several_processes_are_checked(tiny, changes, text):
    group = object.__new__(ProcessGroup)
    group.rank, group.count = 0, 2
    with pytest.raises(UsageError, match=text):
        group.check(tiny(**changes))


@pytest.mark.parametrize(
    ("error", "is_loss"),
    [
        (RuntimeError("[/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:2965"), True),
        (torch.distributed.DistBackendError("NCCL error: remote process exited"), True),
        (RuntimeError("cannot restore the connection of this mixer"), False),
        (UsageError("gloo"), False),
    ],
)
def test_only_what_torch_says_of_a_lost_rank_is_taken_for_that(error, is_loss):
    group = object.__new__(ProcessGroup)
    group.rank, group.count = 0, 2
    with pytest.raises(LostError if is_loss else type(error)), group.watched():
        raise error


# Coming back


def test_continue_starts_and_resumes(tiny, tmp_path):
    settings = tiny()
    start_or_resume(settings, tmp_path / "run", pages=False)
    train(settings, tmp_path / "other")
    assert outcome(tmp_path / "run") == outcome(tmp_path / "other")
    assert start_or_resume(settings, tmp_path / "run", pages=False).steps == 20
    longer = settings.model_copy(update={"steps": 25})
    assert start_or_resume(longer, tmp_path / "run", pages=False).steps == 25
    with pytest.raises(UsageError, match=r"has lr=0.001, and lr=0.5 was asked for: choose another `out`"):
        start_or_resume(longer.model_copy(update={"lr": 0.5}), tmp_path / "run")


def test_continue_starts_again_what_was_killed_before_its_first_checkpoint(tiny, tmp_path):
    settings, out = tiny(), tmp_path / "run"
    train(settings, out)
    for path in [*(out / "checkpoints").iterdir(), out / "summary.json", out / "scores.safetensors"]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (out / "checkpoints/.partial-step-00000000").mkdir()
    (out / ".env.json.partial").write_text("{")
    assert start_or_resume(settings, out, pages=False).steps == 20
    shutil.rmtree(out)
    out.mkdir()
    assert start_or_resume(settings, out, pages=False).steps == 20


class Killed(BaseException):
    pass


@pytest.mark.parametrize("writes", range(5))
def test_continue_starts_again_what_was_killed_while_it_wrote_its_settings(tiny, tmp_path, monkeypatch, writes):
    whole, made = manifest.write_atomically, []

    def write(path, content):
        if len(made) == writes:
            raise Killed
        made.append(path)
        whole(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(manifest, "write_atomically", write)
        patch.setattr(RunDirectory, "remove", lambda run: None)  # as a kill removes nothing
        with pytest.raises(Killed):
            start_or_resume(tiny(), tmp_path / "run")
    assert (tmp_path / "run").is_dir()
    assert start_or_resume(tiny(), tmp_path / "run", pages=False).steps == 20


def test_continue_starts_again_what_was_killed_while_it_was_removed(tiny, tmp_path, monkeypatch):
    settings, out, unlink, removed = tiny(), tmp_path / "run", Path.unlink, []
    train(settings, out)
    for path in [*(out / "checkpoints").iterdir(), out / "summary.json", out / "scores.safetensors"]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    def remove_one(path, **given):
        if removed:
            raise Killed
        removed.append(path)
        unlink(path, **given)

    kills = 0
    while True:
        removed.clear()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", remove_one)
            try:
                RunDirectory(out).remove()
                break
            except Killed:
                kills += 1
        assert not _has_started(shutil.copytree(out, tmp_path / f"copy-{kills}"), settings, Ranks())
    assert kills > 4


@pytest.mark.parametrize("name", ["chapter.tex", "config.json", ".git", "events.jsonl", "checkpoints/best.pt"])
def test_continue_touches_nothing_that_is_no_run(tiny, tmp_path, name):
    path = tmp_path / "thesis" / name
    path.parent.mkdir(parents=True)
    path.write_text('{"compilerOptions": {}}')
    with pytest.raises(UsageError, match=f"holds no run but {name}"):
        start_or_resume(tiny(), tmp_path / "thesis")
    assert path.exists()


def test_a_rank_that_is_killed_costs_no_more_than_the_steps_since_the_last_checkpoint(tiny, tmp_path):
    settings, chance = tiny(accumulate=2, steps=60, mixer="correlation"), random.Random(0)
    assert run(2, lambda ranks: train(settings, tmp_path / "whole", ranks)) == [0, 0]
    begin = time.monotonic()
    assert run(2, lambda ranks: start_or_resume(settings, tmp_path / "timed", ranks=ranks, pages=False)) == [0, 0]
    duration = time.monotonic() - begin
    killed = 0
    for number in range(KILLS):
        path = tmp_path / f"cut-{number}"

        def work(ranks, path=path):
            start_or_resume(settings, path, ranks=ranks, pages=False)

        processes = fork(2, work, keep_quiet=True)
        time.sleep(chance.random() * duration)
        codes = kill(processes, chance.choice(processes), patience=3.0 if number % 3 else 0.0)  # some die all at once
        if -signal.SIGKILL in codes:
            killed += 1
            assert run(2, work) == [0, 0]
        assert outcome(path) == outcome(tmp_path / "whole")
    assert killed >= KILLS / 2


def test_torchrun_starts_the_ranks_again(text, tmp_path):
    """As a user types it; the second process is killed once, and torchrun starts both of them again."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--max-restarts",
        "1",
        "-m",
        "zoo",
    ]
    settings = ["--data", str(text), "--mixer", "correlation", "--layers", "1", "--dim", "16", "--heads", "2"]
    settings += ["--context", "16", "--batch", "2", "--steps", "200", "--device", "cpu", "--precision", "fp32"]
    for name, value in {"accumulate": 2, "threads": 1, "checkpoint_every": 10, "sample_tokens": 8}.items():
        settings += ["--set", f"{name}={value}"]
    arguments = ["train", "--continue", *settings, "--out"]
    assert command_line([*arguments, str(tmp_path / "whole")]) == 0
    process = subprocess.Popen(
        [*command, *arguments, str(tmp_path / "cut")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while not list((tmp_path / "cut/checkpoints").glob("step-000000[1-9]0")):
        time.sleep(0.01)
        assert process.poll() is None
    ranks = [path for path in Path("/proc").glob("[0-9]*/environ") if _is_rank(path, process.pid)]
    os.kill(int(ranks[-1].parent.name), signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")
    events = [json.loads(line)["event"] for line in (tmp_path / "cut/events.jsonl").read_text().splitlines()]
    assert events == ["started", "resumed", "finished"]


def _is_rank(environ: Path, parent: int) -> bool:
    try:
        status = (environ.parent / "stat").read_text().rpartition(")")[2].split()
        return int(status[1]) == parent and b"LOCAL_RANK=" in environ.read_bytes()
    except OSError:
        return False


def test_one_process_is_launched_by_nobody():
    torchrun = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "host", "MASTER_PORT": "1"}
    assert is_launched(torchrun)
    assert not is_launched(torchrun | {"WORLD_SIZE": "1"})
    assert not is_launched({"RANK": "0", "WORLD_SIZE": "2"})
    assert Ranks().gather(3) == [3]
