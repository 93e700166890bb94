import errno
import json
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import UsageError, ZooError
from zoo.train import checkpoint as checkpoint_module
from zoo.train.checkpoint import load_checkpoint, save_checkpoint
from zoo.train.manifest import encode_manifest, sha256_of

FILES = ("model.safetensors", "optimizer.safetensors", "progress.json", "manifest.json")


def tensors_of(step):
    generator = torch.Generator().manual_seed(step)
    weight = torch.randn(3, 4, generator=generator)
    return {
        "model": {"weight": weight, "tied": weight, "half": weight.bfloat16(), "empty": torch.empty(0, 2)},
        "optimizer": {"weight|exp_avg": weight.double() * 2, "weight|step": torch.tensor(float(step))},
    }


def save(root, step, keep=None):
    return save_checkpoint(root, step, tensors=tensors_of(step), progress={"step": step, "loss": 0.1}, keep=keep)


def assert_is_step(checkpoint, step):
    assert checkpoint.step == checkpoint.progress["step"] == step
    for stem, named in tensors_of(step).items():
        assert checkpoint.tensors[stem].keys() == named.keys()
        for name, tensor in named.items():
            loaded = checkpoint.tensors[stem][name]
            assert loaded.dtype == tensor.dtype
            assert torch.equal(loaded, tensor)


def names(root):
    return sorted(path.name for path in root.iterdir())


def flip(path, bit):
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "run" / "checkpoints"


def test_what_was_saved_is_loaded_bit_for_bit(root):
    path = save(root, 500)
    assert path == root / "step-00000500"
    assert names(path) == sorted(FILES)
    checkpoint = load_checkpoint(root)
    assert_is_step(checkpoint, 500)
    assert (checkpoint.path, checkpoint.rejected) == (path, ())
    assert checkpoint.progress["loss"] == 0.1


def test_views_keep_their_values(root):
    grid = torch.arange(12.0).reshape(3, 4)
    views = {
        "transposed": grid.T,
        "column": grid[:, 1],
        "expanded": torch.ones(1, 3).expand(2, 3),
        "parameter": torch.nn.Parameter(grid[1:]),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }
    save_checkpoint(root, 1, tensors={"model": views, "nothing": {}}, progress={}, keep=1)
    loaded = load_checkpoint(root).tensors
    assert loaded["nothing"] == {}
    for name, view in views.items():
        assert torch.equal(loaded["model"][name], view)


def test_loaded_tensors_are_aligned_and_outlive_the_file(root):
    odd = {f"t{size}": torch.arange(size, dtype=torch.uint8) for size in (1, 3, 5)} | {"x": torch.arange(5.0)}
    path = save_checkpoint(root, 1, tensors={"model": odd}, progress={}, keep=1)
    loaded = load_checkpoint(root).tensors["model"]
    (path / "model.safetensors").write_bytes(b"")
    for name, tensor in odd.items():
        assert loaded[name].data_ptr() % 64 == 0
        assert torch.equal(loaded[name], tensor)


def test_tensors_are_put_where_they_are_wanted(root):
    save(root, 1)
    assert load_checkpoint(root, device="meta").tensors["model"]["weight"].device.type == "meta"


def test_the_newest_is_taken_and_the_number_kept_is_kept(root):
    for step in (2, 30, 100):
        save(root, step, keep=2)
    assert names(root) == ["step-00000030", "step-00000100"]
    assert_is_step(load_checkpoint(root), 100)
    save(root, 123456789, keep=None)
    assert len(names(root)) == 3
    assert_is_step(load_checkpoint(root), 123456789)


def test_older_ones_go_only_when_the_new_one_stands(root, monkeypatch):
    save(root, 1, keep=1)
    monkeypatch.setattr(checkpoint_module, "sync_folder", full_disk_at(root))
    with pytest.raises(ZooError):
        save(root, 2, keep=1)
    assert "step-00000001" in names(root)


def full_disk_at(folder):
    def sync(path):
        if path == folder:
            raise OSError(errno.ENOSPC, "No space left on device")

    return sync


@pytest.mark.parametrize("name", FILES)
@given(place=st.floats(0, 1, exclude_max=True))
def test_a_flipped_bit_in_any_file_is_seen_and_the_one_before_is_taken(tmp_path_factory, name, place):
    root = tmp_path_factory.mktemp("checkpoints")
    save(root, 1)
    damaged = save(root, 2) / name
    flip(damaged, int(place * damaged.stat().st_size * 8))
    checkpoint = load_checkpoint(root)
    assert_is_step(checkpoint, 1)
    ((path, reason),) = checkpoint.rejected
    assert (path.name, reason) == ("step-00000002", f"{name} has changed since it was written")


@pytest.mark.slow
def test_every_bit_of_the_manifest_counts(root):
    manifest = save(root, 1) / "manifest.json"
    for bit in range(manifest.stat().st_size * 8):
        flip(manifest, bit)
        with pytest.raises(UsageError, match=r"manifest\.json has changed since it was written"):
            load_checkpoint(root)
        flip(manifest, bit)
    assert_is_step(load_checkpoint(root), 1)


def remove(path):
    (path / "progress.json").unlink()


def add(path):
    (path / "notes.txt").touch()


def shorten(path):
    (path / "model.safetensors").write_bytes((path / "model.safetensors").read_bytes()[:-1])


def tear_manifest(path):
    (path / "manifest.json").write_bytes((path / "manifest.json").read_bytes()[:100])


def remove_manifest(path):
    (path / "manifest.json").unlink()


def rename(path):
    path.rename(path.with_name("step-00000003"))


def become_a_file(path):
    path.rename(path.with_name("elsewhere"))
    path.touch()


def come_from_the_future(path):
    manifest = json.loads((path / "manifest.json").read_text())
    content = {**manifest, "format": 2}
    del content["sha256"]
    (path / "manifest.json").write_bytes(encode_manifest(content))


def list_nothing(path):
    (path / "manifest.json").write_bytes(encode_manifest({"format": 1, "step": 2, "files": {"progress.json": 3}}))


def be_of_no_format(path):
    (path / "manifest.json").write_bytes(encode_manifest({"step": 2, "files": {}}))


def hold_a_number(path):
    (path / "progress.json").write_text("7")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["progress.json"] = {"size": 1, "sha256": sha256_of(b"7")}
    del manifest["sha256"]
    (path / "manifest.json").write_bytes(encode_manifest(manifest))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (list_nothing, "manifest.json lists no checksums"),
        (be_of_no_format, "manifest.json has changed since it was written"),
        (hold_a_number, "cannot be read: 'int' object is not iterable"),
        (remove, "progress.json is missing"),
        (add, "notes.txt does not belong there"),
        (shorten, "model.safetensors has 375 bytes instead of 376"),
        (tear_manifest, "manifest.json has changed since it was written"),
        (remove_manifest, "manifest.json is missing"),
        (rename, "it is of step 2, whatever its name says"),
        (become_a_file, "cannot be read: Not a directory"),
        (come_from_the_future, "it has format 2, and this version of zoo reads format 1"),
    ],
)
def test_other_damage_is_named_too(root, damage, reason):
    save(root, 1)
    damage(save(root, 2))
    checkpoint = load_checkpoint(root)
    assert_is_step(checkpoint, 1)
    assert [cause for _, cause in checkpoint.rejected] == [reason]


def test_without_a_whole_one_every_cause_is_told_and_what_to_do(root):
    remove(save(root, 1))
    add(save(root, 2))
    with pytest.raises(UsageError) as caught:
        load_checkpoint(root)
    assert str(caught.value) == (
        f"no checkpoint in {root} is whole (step-00000002: notes.txt does not belong there; step-00000001: "
        f"progress.json is missing): put back a good copy of one, or start again with `zoo train --config "
        f"{root.parent / 'config.json'}`"
    )


def test_no_checkpoint_at_all_is_told(root):
    with pytest.raises(UsageError, match=r"there is no checkpoint in .*: start again with `zoo train --config .*`"):
        load_checkpoint(root)


def test_nothing_is_ever_unpickled(root, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("unpickled")

    for name in ("pickle.load", "pickle.loads", "pickle.Unpickler", "torch.load"):
        monkeypatch.setattr(name, refuse)
    save(root, 1)
    assert_is_step(load_checkpoint(root), 1)


def test_a_damaged_one_is_replaced_when_the_run_comes_by_again(root):
    save(root, 1)
    add(save(root, 2))
    save(root, 2, keep=2)
    assert names(root) == ["step-00000001", "step-00000002"]
    checkpoint = load_checkpoint(root)
    assert (checkpoint.step, checkpoint.rejected) == (2, ())


def test_later_ones_that_were_passed_over_do_not_shadow_a_new_one(root):
    save(root, 1)
    remove(save(root, 3))
    save(root, 2, keep=2)
    assert names(root) == ["step-00000001", "step-00000002"]


@pytest.mark.parametrize("stage", range(6))
def test_a_full_disk_leaves_the_earlier_one_and_says_so(root, monkeypatch, stage):
    save(root, 1)
    calls = iter(range(stage))

    def full_disk(_descriptor):
        if next(calls, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full_disk)
        with pytest.raises(ZooError) as caught:
            save(root, 2, keep=1)
    assert caught.value.exit_code == 1
    assert str(caught.value) == (
        f"cannot save the checkpoint {root / 'step-00000002'}: No space left on device; the earlier one, "
        f"step-00000001, is intact: make room, then continue with `zoo train --resume {root.parent}`"
    )
    assert names(root) == ["step-00000001"]
    assert_is_step(load_checkpoint(root), 1)


def test_a_place_that_takes_no_checkpoint_is_told(tmp_path):
    (tmp_path / "checkpoints").touch()
    with pytest.raises(ZooError, match=r"cannot save the checkpoint .*: File exists; there is no earlier one: make"):
        save(tmp_path / "checkpoints", 1)


KILLED_AT_EVERY_STAGE = """
import os, shutil, sys
from pathlib import Path
import torch
import zoo.train.checkpoint as module

torch.set_num_threads(1)
os.fsync = lambda descriptor: None  # the machine stays up: only the process dies here
root = Path(sys.argv[1])
CALLS = ("fsync", "rename", "mkdir", "open", "unlink", "rmdir")


def save(step):
    tensors = {"model": {"weight": torch.full((3,), float(step))}, "optimizer": {"m": torch.zeros(2)}}
    module.save_checkpoint(root, step, tensors=tensors, progress={"step": step}, keep=1)


def die_at(stage):
    left = stage

    def counted(call):
        def wrapper(*arguments, **options):
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(9)
            return call(*arguments, **options)

        return wrapper

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))


def stages(first, second):
    for stage in range(1000):
        child = os.fork()
        if child == 0:
            shutil.rmtree(root, ignore_errors=True)
            save(first)
            die_at(stage)
            save(second)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, 9), status
        checkpoint = module.load_checkpoint(root)
        assert checkpoint.step in (first, second), stage
        assert checkpoint.tensors["model"]["weight"].tolist() == [float(checkpoint.step)] * 3, stage
        assert checkpoint.rejected == (), (stage, checkpoint.rejected)
        save(second + 1)  # whatever was left lying does not hinder, and is cleared away
        assert [path.name for path in root.iterdir()] == [f"step-{second + 1:08d}"], stage
        yield checkpoint.step
        if status == 0:
            return


print(*stages(1, 2))
print(*stages(2, 2))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test kills forks")
def test_a_kill_at_any_stage_leaves_a_whole_checkpoint(root):
    command = [sys.executable, "-c", KILLED_AT_EVERY_STAGE, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    next_step, same_step_again = (line.split() for line in done.stdout.splitlines())
    assert next_step == sorted(next_step)
    assert next_step.count("1") > 5
    assert next_step.count("2") > 5
    assert len(same_step_again) > 10
