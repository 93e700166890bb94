"""Checkpoints that a kill at any moment leaves intact, and that show by themselves when a bit of them has changed."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError, ZooError
from zoo.files.atomic import reason, sync_folder, write_synced, writing
from zoo.files.strict_json import from_json, to_json
from zoo.train.manifest import MANIFEST, encode_manifest, sha256_of
from zoo.train.renames import with_current_names
from zoo.train.shards import PREFIX, WholeTensors
from zoo.train.shell import quote
from zoo.train.verify import FORMAT, UnusableError, verify

if TYPE_CHECKING:
    from torch import Tensor

STAGED = ".partial-"
"""Before the name of a checkpoint that is being written."""

ASIDE = ".decayed"
"""Behind the name of a checkpoint that `set_aside` has renamed."""

_NAME = re.compile(r"step-(\d{8,})(\.old)?")
_PROGRESS, _TENSORS = "progress.json", ".safetensors"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a run was at one step.

    Args:
        step: how many updates the parameters had had.
        path: the folder that it came from.
        tensors: by stem (``model``, ``optimizer``), then by name.
        progress: the rest, of JSON's types.
        shards: the folder again, where each of several processes wrote a part of the tensors.
        rejected: newer checkpoints that were passed over, each with what is wrong with it.
    """

    step: int
    path: Path
    tensors: Mapping[str, Mapping[str, "Tensor"]]
    progress: Mapping[str, Any]
    rejected: tuple[tuple[Path, str], ...] = ()
    shards: Path | None = None


def without_tensors(checkpoint: Checkpoint) -> Checkpoint:
    """The rest of a checkpoint."""
    return replace(checkpoint, tensors={})


def save_checkpoint(
    root: Path,
    step: int,
    *,
    tensors: Mapping[str, Mapping[str, "Tensor"]],
    progress: Mapping[str, Any],
    keep: int | None,
    keep_also: int | None = None,
) -> Path:
    """Save what a run is at one step, as ``step-00000500/`` in `root`.

    All of it is written and synced in a hidden folder, the manifest last, and then renamed: a checkpoint stands
    whole or not at all. Only one process may save into `root` at a time, which the lock of the run sees to.

    Args:
        root: the folder of the run's checkpoints; made where it is missing.
        step: how many updates the parameters have had.
        tensors: by stem, then by name; on any device, of any strides, sharing memory or not.
        progress: what else it takes to go on, of JSON's types.
        keep: how many checkpoints to leave, this one included; None leaves all. Those of later steps, from which
            the run did not go on, are removed in any case.
        keep_also: the step of an earlier checkpoint that is left whatever `keep` says.

    Raises:
        ZooError: the disk is full or does not take it. The earlier checkpoints are untouched.
    """
    commit = Commit(root, step, progress=progress, keep=keep, keep_also=keep_also)
    commit.begin()
    with commit.reporting():
        files = {f"{stem}{_TENSORS}": commit.write(f"{stem}{_TENSORS}", _content(tensors[stem])) for stem in tensors}
    commit.finish(files)
    return commit.path


class Commit:
    """A checkpoint on its way: staged in a hidden folder, and renamed once all of it is on the disk.

    Args: as `save_checkpoint` has them.

    Attributes:
        path: where it will stand.
        staging: where its files are written meanwhile.
    """

    def __init__(
        self, root: Path, step: int, *, progress: Mapping[str, Any], keep: int | None, keep_also: int | None = None
    ) -> None:
        assert keep is None or keep >= 1
        self.root, self.step, self.progress, self.keep, self.keep_also = root, step, progress, keep, keep_also
        self.path = root / f"step-{step:08d}"
        self.staging = root / f"{STAGED}{self.path.name}"

    def begin(self) -> None:
        """Make the folder in which files are written."""
        with self.reporting():
            self.root.mkdir(parents=True, exist_ok=True)
            sync_folder(self.root.parent)
            for leftover in self.root.glob(f"{STAGED}*"):
                shutil.rmtree(leftover)
            self.staging.mkdir()

    def write(self, name: str, content: bytes) -> dict[str, Any]:
        """Write a file; returns what the manifest is to say of it."""
        write_synced(self.staging / name, content)
        return {"size": len(content), "sha256": sha256_of(content)}

    def finish(self, files: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the rest, the manifest last, and put the folder in its place; older ones go.

        Args:
            files: what the manifest is to say of each file that was written.
        """
        with self.reporting():
            progress = self.write(_PROGRESS, to_json(dict(self.progress)).encode())
            content = {"format": FORMAT, "step": self.step, "files": {**files, _PROGRESS: progress}}
            write_synced(self.staging / MANIFEST, encode_manifest(content))
            sync_folder(self.staging)
            _make_way(self.path)
            self.staging.rename(self.path)
            sync_folder(self.root)
        _prune(self.root, self.path, self.keep, self.keep_also)

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Tell a failure to write in a line, and leave nothing of what was staged."""
        try:
            yield
        except OSError as error:
            shutil.rmtree(self.staging, ignore_errors=True)
            raise ZooError(_failure(self.path, error)) from error


def load_checkpoint(root: Path, *, device: str = "cpu", up_to: int | None = None) -> Checkpoint:
    """The newest checkpoint in `root` that is whole: every file there, none too many, each as its manifest says.

    Args:
        root: the folder of the run's checkpoints.
        device: where the tensors shall lie.
        up_to: none of a later step is taken; None for any.

    Raises:
        UsageError: there is none.
    """
    rejected: list[tuple[Path, str]] = []
    for path in _standing(root):
        if up_to is not None and _step(path) > up_to:
            continue
        try:
            return replace(_read(path, device), rejected=tuple(rejected))
        except UnusableError as cause:
            rejected.append((path, str(cause)))
    again = f"start again with `zoo train --config {quote(str(root.parent / 'config.json'))}`"
    if not rejected:
        raise UsageError(f"there is no checkpoint in {root}: {again}")
    causes = "; ".join(f"{path.name}: {cause}" for path, cause in rejected)
    raise UsageError(f"no checkpoint in {root} is whole ({causes}): put back a good copy of one, or {again}")


def set_aside(root: Path, after: int) -> None:
    """Rename the checkpoints of later steps, to ``step-00001000.decayed``: no run goes on from them, none is removed.

    Raises:
        ZooError: the folder cannot be written.
    """
    for path in _standing(root):
        if _step(path) > after:
            with writing(path):
                aside = path.with_name(f"{path.name}{ASIDE}")
                shutil.rmtree(aside, ignore_errors=True)  # the same steps, made again
                path.rename(aside)
                sync_folder(root)


def _standing(root: Path) -> list[Path]:
    """The checkpoints, the newest first; of two of the same step the one that was set aside comes second."""
    paths = [path for path in root.iterdir() if _NAME.fullmatch(path.name)] if root.is_dir() else []
    return sorted(paths, key=lambda path: (-_step(path), path.name))


def _step(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1])


def _content(named: Mapping[str, "Tensor"]) -> bytes:
    import torch
    from safetensors.torch import save

    # Views and tied tensors become tensors of their own, as the format wants them.
    owned = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in named.items()
    }
    return save(owned)


def _make_way(path: Path) -> None:
    """Clear the name for a step that is saved again. What stands there stays readable, if it is any good."""
    if not path.exists():
        return
    try:
        verify(path, _step(path))
    except UnusableError:
        shutil.rmtree(path)
    else:
        aside = path.with_name(f"{path.name}.old")
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)


def _prune(root: Path, newest: Path, keep: int | None, keep_also: int | None) -> None:
    others = [path for path in _standing(root) if path != newest]
    older = [path for path in others if _step(path) < _step(newest)]
    kept = older if keep is None else older[: keep - 1] + [path for path in older if _step(path) == keep_also]
    for path in others:
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)  # the new checkpoint stands, which is what was asked for


def _read(path: Path, device: str) -> Checkpoint:
    from safetensors import SafetensorError

    manifest = verify(path, _step(path))
    if any(name.startswith(PREFIX) for name in manifest["files"]):
        return Checkpoint(manifest["step"], path, WholeTensors(path, device), _progress(path), shards=path)
    stems = [name.removesuffix(_TENSORS) for name in manifest["files"] if name.endswith(_TENSORS)]
    try:
        files = {stem: _load_tensors(path / f"{stem}{_TENSORS}") for stem in stems}
    except (OSError, ValueError, SafetensorError) as error:
        raise UnusableError(f"cannot be read: {error}") from None
    # A copy is aligned as torch's own tensors are, which bit-exact resuming needs, and outlives the file.
    tensors = {stem: {key: value.to(device, copy=True) for key, value in file.items()} for stem, file in files.items()}
    return Checkpoint(manifest["step"], path, with_current_names(tensors), _progress(path))


def _progress(path: Path) -> dict[str, Any]:
    try:
        return dict(from_json((path / _PROGRESS).read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise UnusableError(f"cannot be read: {error}") from None


def _load_tensors(path: Path) -> dict[str, "Tensor"]:
    from safetensors.torch import load, load_file

    try:
        str(path).encode()
    except UnicodeEncodeError:  # safetensors opens no such path
        return load(path.read_bytes())
    return load_file(path)


def _failure(path: Path, error: OSError) -> str:
    earlier = [other for other in _standing(path.parent) if other != path]
    text = f"cannot save the checkpoint {path}: {reason(error)}"
    if not earlier:
        return f"{text}; there is no earlier one: make room, then start again"
    resume = f"`zoo train --resume {quote(str(path.parent.parent))}`"
    return f"{text}; the earlier one, {earlier[0].name}, is intact: make room, then continue with {resume}"
