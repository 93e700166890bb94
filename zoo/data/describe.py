"""What there is to know of a text: how much of it there is, how it is split, and how it begins."""

from typing import Any

from zoo.data.dataset import Dataset
from zoo.data.mixture import Mixture
from zoo.data.source import Source
from zoo.data.streamed import ShardedText
from zoo.data.token_files import TokenData, TokenText
from zoo.errors import UsageError

_SAMPLE_TOKENS = 400


def describe_text(source: Source) -> dict[str, Any]:
    """What is known of a text.

    Args:
        source: of `zoo.data.load.load_source`, with the objective of the next token.

    Returns:
        ``name``, ``kind``, ``sha256``, ``tokenizer`` (its name; None for tokens without a text), ``vocab_size``,
        ``split`` (``"document"``, ``"position"``, ``"files"`` or ``"parts"``), ``bytes_per_token``; ``train`` and
        ``validation``, each with ``tokens``, ``documents`` and ``bytes``, None where unknown; the ``sample`` with which
        the training split begins; ``folder``, ``forms``, ``input_files`` and ``input_bytes`` of what was encoded to
        shards; and of a mixture ``parts``, with a ``weight`` each.

    Raises:
        UsageError: it is no text.
    """
    if isinstance(source, Mixture):
        return _mixture(source)
    if isinstance(source, TokenData):
        return _head(source, "tokens", "files") | {
            "bytes_per_token": None,
            "train": _split(len(source.train)),
            "validation": _split(len(source.validation)),
            "sample": " ".join(map(str, source.train[:32].tolist())),
        }
    if not isinstance(source, Dataset):
        raise UsageError(f"{source.name} is no text")
    return _text(source)


def _text(text: Dataset) -> dict[str, Any]:
    sizes = {"train": (text.train, text.train_bytes), "validation": (text.validation, text.validation_bytes)}
    described = _head(text, "text", "files" if isinstance(text, TokenText) else "position")
    described["bytes_per_token"] = (text.train_bytes + text.validation_bytes) / (len(text.train) + len(text.validation))
    described |= {split: _split(len(tokens), size) for split, (tokens, size) in sizes.items()}
    described["sample"] = text.tokenizer.decode(text.train[:_SAMPLE_TOKENS].tolist())
    if isinstance(text, ShardedText) and text.index is not None:
        kind = "text" if text.index["split"] == "position" else "documents"
        described |= {"kind": kind, "folder": str(text.folder)}
        described |= {name: text.index[name] for name in ("split", "forms", "input_files", "input_bytes")}
        if kind == "documents":
            for split in sizes:
                described[split]["documents"] = text.index[split]["documents"]
    return described


def _mixture(mixture: Mixture) -> dict[str, Any]:
    parts = [_text(part) for part in mixture.parts]
    described = _head(mixture, "mixture", "parts")
    for split in ("train", "validation"):
        described[split] = _split(*(sum(part[split][name] for part in parts) for name in ("tokens", "bytes")))
    weighted = zip(mixture.weights, parts, strict=True)
    described["bytes_per_token"] = sum(weight * part["bytes_per_token"] for weight, part in weighted)
    described["sample"] = parts[0]["sample"]
    weights = zip(mixture.weights, parts, strict=True)
    return described | {"parts": [{"weight": weight} | part for weight, part in weights]}


def _head(source: Source, kind: str, split: str) -> dict[str, Any]:
    tokenizer = None if source.tokenizer is None else source.tokenizer.name
    head = {"name": source.name, "kind": kind, "sha256": source.sha256, "tokenizer": tokenizer}
    return head | {"vocab_size": source.vocab_size, "split": split}


def _split(tokens: int, size: int | None = None) -> dict[str, int | None]:
    return {"tokens": tokens, "documents": None, "bytes": size}
