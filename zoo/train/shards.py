"""Checkpoints of which each process writes its own part, for models that fit into no single machine.

torch's distributed checkpoint does it, in its safetensors storage: nothing is pickled. What it writes becomes a
checkpoint like any other, under a manifest of all files.
"""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError
from zoo.files.atomic import reason
from zoo.train.engine.ranks import Ranks

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.train.checkpoint import Commit

PREFIX = "shard-"
"""Before the names of the files that hold parts."""

_SEPARATOR = "/"
"""Between the stem of a tensor, ``model`` or ``optimizer``, and its name."""

Find = Callable[[str, str, tuple[int, ...]], "Tensor | None"]
"""Given the stem, the name and the shape of a tensor, the one to fill, of which this process may hold a part."""


def save_shards(commit: "Commit", tensors: "Mapping[str, Mapping[str, Tensor]]", ranks: Ranks) -> None:
    """Save a checkpoint, each rank what it holds of the tensors.

    Args:
        commit: where it goes.
        tensors: by stem, then by name; all ranks have the same ones, or parts of them.
        ranks: call this together.

    Raises:
        ZooError: the disk of one of them is full or does not take it. The earlier checkpoints are untouched.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    ranks.first(commit.begin)
    flat = {f"{stem}{_SEPARATOR}{name}": value for stem, named in tensors.items() for name, value in named.items()}
    seals: dict[str, dict[str, Any]] = {}
    with ranks.together():
        try:
            with _quietly():
                save(flat, storage_writer=HuggingFaceStorageWriter(os.fspath(commit.staging), save_distributed=True))
            own = commit.staging.glob(f"{PREFIX}{ranks.rank + 1:05d}-*.safetensors")
            seals = {path.name: _seal(path) for path in own}
        except OSError as error:
            raise ZooError(f"cannot save a part of the checkpoint {commit.path}: {reason(error)}") from error
        except CheckpointException as error:  # what went wrong on any rank, on all of them; no Exception
            first = next((cause for cause, _ in error.failures.values()), error)
            raise ZooError(f"cannot save a part of the checkpoint {commit.path}: {first}") from error
    files = {name: seal for of_rank in ranks.gather(seals) for name, seal in of_rank.items()}
    ranks.first(partial(commit.finish, files))


def load_shards(
    path: Path, find: Find = lambda _stem, _name, _shape: None, *, alone: bool = True
) -> "dict[str, dict[str, Tensor]]":
    """Read the tensors of such a checkpoint, by stem and name, whoever wrote it.

    Args:
        path: of the checkpoint.
        find: the tensor to fill; where there is none, the whole tensor is read onto the CPU.
        alone: whether this process reads for itself. Otherwise all ranks call this together.
    """
    import torch
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata
    from torch.distributed.checkpoint.state_dict_loader import load

    with _quietly():
        metadata = HuggingFaceStorageReader(os.fspath(path)).read_metadata().state_dict_metadata
        loaded: dict[str, dict[str, Tensor]] = {}
        for key, saved in metadata.items():
            assert isinstance(saved, TensorStorageMetadata)
            stem, _, name = key.partition(_SEPARATOR)
            place = find(stem, name, tuple(saved.size))
            whole = torch.empty(saved.size, dtype=saved.properties.dtype) if place is None else place
            loaded.setdefault(stem, {})[name] = whole
        flat = {f"{stem}{_SEPARATOR}{name}": value for stem, named in loaded.items() for name, value in named.items()}
        load(flat, storage_reader=HuggingFaceStorageReader(os.fspath(path)), no_dist=alone)
    return loaded


class WholeTensors(Mapping[str, "Mapping[str, Tensor]"]):
    """The tensors of such a checkpoint put together, once somebody asks for them."""

    def __init__(self, path: Path, device: str) -> None:
        self.path, self.device = path, device

    def __getitem__(self, stem: str) -> "Mapping[str, Tensor]":
        return self._loaded[stem]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded)

    def __len__(self) -> int:
        return len(self._loaded)

    @cached_property
    def _loaded(self) -> "dict[str, dict[str, Tensor]]":
        loaded = load_shards(self.path)
        return {stem: {name: value.to(self.device) for name, value in named.items()} for stem, named in loaded.items()}


def _seal(path: Path) -> dict[str, Any]:
    """What the manifest is to say of a file, once that is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what torch says of a process group that is not there, and of its own internals."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
