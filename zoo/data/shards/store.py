"""A folder of shards: what it says of itself, whether it is whole, and its tokens, mapped from disk."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.shards.write import SPLITS, has_size
from zoo.data.tokenize import tokenizer_from_json
from zoo.data.tokens import ShardedTokens
from zoo.errors import UsageError
from zoo.files.atomic import sync_folder
from zoo.tokenizer import Tokenizer

FORMAT = 1
"""Counts the ways in which shards were laid out; older ones are made again."""

INDEX = "index.json"

_FIELDS = {"name", "sha256", "tokenizer", "vocab_size", "validation_fraction", "split", "dtype", *SPLITS}


def is_shards(folder: Path) -> bool:
    """Whether a folder holds shards, of any format, whole or not."""
    try:
        index = json.loads((folder / INDEX).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(index, dict) and {"format", "train", "validation", "vocab_size"} <= index.keys()


def is_complete(folder: Path) -> bool:
    """Whether a folder holds shards of this format, each file with its size."""
    try:
        read_index(folder)
    except UsageError:
        return False
    return True


def read_index(folder: Path) -> dict[str, Any]:
    """What a folder of shards says of itself; its files have the sizes with which they were written.

    Raises:
        UsageError: it is damaged, or of another version.
    """
    try:
        index = json.loads((folder / INDEX).read_bytes())
        known = index["format"]
        if known == FORMAT and not index.keys() >= _FIELDS:
            raise ValueError("it lacks a field")
        files = [file for split in SPLITS for shard in index[split]["shards"] for file in shard]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder / INDEX} is damaged ({error}): put back a good copy, or encode again") from None
    if known != FORMAT:
        raise UsageError(f"the shards in {folder} have format {known}, and this version reads {FORMAT}: encode again")
    for file in files:
        if not has_size(folder, file):
            raise UsageError(f"{folder / file['name']} is missing or was cut: put back a good copy, or encode again")
    return dict(index)


def verify(folder: Path) -> None:
    """Read every file of a folder of shards, and compare what was written.

    Raises:
        UsageError: a file has changed.
    """
    index = read_index(folder)
    for split in SPLITS:
        for shard in index[split]["shards"]:
            for file in shard:
                with (folder / file["name"]).open("rb") as opened:
                    if hashlib.file_digest(opened, "sha256").hexdigest() != file["sha256"]:
                        raise UsageError(
                            f"{folder / file['name']} is damaged: its checksum differs; put back a good copy, or "
                            "encode again"
                        )


def open_shards(folder: Path) -> tuple[dict[str, Any], Tokenizer, ShardedTokens, ShardedTokens]:
    """The index, the tokenizer, and the tokens of both splits, mapped from disk and read-only.

    Raises:
        UsageError: damage, or a tokenizer whose plugin or library is missing.
    """
    index = read_index(folder)
    try:
        saved = json.loads((folder / "tokenizer.json").read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / 'tokenizer.json'} is damaged ({error}): put back a good copy") from None
    train, validation = (_mapped(folder, index[split]["shards"]) for split in SPLITS)
    return index, tokenizer_from_json(saved), train, validation


def copy_shards(folder: Path, out: Path) -> None:
    """Copy a folder of shards, so that it appears at its new place when it is whole.

    Raises:
        UsageError: there is something already.
    """
    if out.exists():
        raise UsageError(f"{out} exists: choose another `out`")
    staged = out.with_name(f".{out.name}.partial")
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(folder, staged)
    staged.rename(out)
    sync_folder(out.parent)


def _mapped(folder: Path, shards: list[list[dict[str, Any]]]) -> ShardedTokens:
    arrays = [[np.load(folder / file["name"], mmap_mode="r") for file in shard] for shard in shards]
    return ShardedTokens([tokens for tokens, _ in arrays], [starts for _, starts in arrays])
