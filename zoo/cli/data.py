"""``zoo data``: what a text holds, encoded as a run would encode it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.output import INTERRUPTED, print_json, print_page, printable, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from zoo.data.source import Source

_SAMPLE_LINES = 12
_SAMPLE_WIDTH = 98

_SPLITS = {
    "document": "whole documents, chosen by a hash of their text: equal texts fall on one side",
    "position": "the end of the text",
    "files": "the file val.bin",
    "parts": "of each part, in proportion to its weight",
}


def data(
    path: Annotated[
        str, typer.Argument(metavar="WHAT", help="A path, a pattern, a corpus or a mixture, as --data of zoo train.")
    ],
    *,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="NAME", help="byte, char, bpe(vocab_size=…), or a tokenizer.json.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of a run: text_field, documents, … Repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Copy the shards there: --data DIR uses them.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Encode a text and show what it holds.

    Documents, tokens, vocabulary, what is for validation, and how the text begins. What is encoded stays in the cache,
    where zoo train finds it. Example:

    zoo data 'articles/*.jsonl' --tokenizer char --set text_field=body
    """
    from zoo.cli.progress import live_display
    from zoo.data.describe import describe_text
    from zoo.data.load import load_source, task_call
    from zoo.errors import UsageError
    from zoo.train.resolve import resolve

    if task_call(path) is not None:
        raise UsageError(f"{path} is a task: see it with zoo tasks {path}")
    settings = resolve(assignments=assignments or (), flags={"data": path, "tokenizer": tokenizer})
    began = time.time()
    try:
        with live_display():
            source = load_source(
                path,
                tokenizer=settings.tokenizer,
                validation_fraction=settings.validation_fraction,
                documents=settings.documents,
                text_field=settings.text_field,
                threads=settings.threads,
            )
            _verify(source, began)
            if out is not None:
                _copy(source, out)
    except KeyboardInterrupt:
        say("interrupted; the same command goes on after the last whole shard")
        raise typer.Exit(INTERRUPTED) from None
    described = describe_text(source) | ({} if out is None else {"out": str(out)})
    if json:
        print_json(described)
    else:
        print_page(_page(described))
        if out is not None:
            say(f"train on it with: zoo train --data {out} --tokenizer '{settings.tokenizer}'")


def _verify(source: "Source", began: float) -> None:
    """Compare the checksums of shards that were there before."""
    from zoo.data.mixture import Mixture
    from zoo.data.shards.store import INDEX, verify
    from zoo.data.streamed import ShardedText

    for text in source.parts if isinstance(source, Mixture) else [source]:
        if isinstance(text, ShardedText) and (text.folder / INDEX).stat().st_mtime < began:
            verify(text.folder)


def _copy(source: "Source", out: Path) -> None:
    from zoo.data.shards.store import copy_shards
    from zoo.data.streamed import ShardedText
    from zoo.errors import UsageError

    if not isinstance(source, ShardedText):
        raise UsageError(f"{source.name} is not in shards of its own: leave out --out, and name it as it is")
    copy_shards(source.folder, out)


def _page(described: dict[str, Any]) -> "Iterator[RenderableType]":
    from rich.text import Text

    from zoo.cli.output import plain_table
    from zoo.cli.page import figures

    yield Text.assemble((printable(described["name"]), "bold"), f"\n{_kind(described)}")
    yield figures(_figures(described))
    if parts := described.get("parts"):
        rows = [(f"{part['weight']:g}", printable(part["name"]), *_sizes(part)) for part in parts]
        yield plain_table(("weight", "part", "for training", "for validation"), rows)
    yield Text("how the training split begins", style="dim")
    lines = printable(described["sample"]).expandtabs(4).splitlines()[:_SAMPLE_LINES]
    yield Text("\n".join(f"  {line[:_SAMPLE_WIDTH]}" for line in lines), no_wrap=True)


def _kind(described: dict[str, Any]) -> str:
    kind: str = described["kind"]
    if "forms" not in described or not described["input_bytes"]:  # a corpus has no files
        return kind
    count = described["input_files"]
    files = "a file" if count == 1 else f"{count:,} files"
    return f"{kind}, {' and '.join(described['forms'])}: {files}, {described['input_bytes']:,} bytes"


def _figures(described: dict[str, Any]) -> dict[str, str]:
    train, validation = _sizes(described)
    ratio = described["bytes_per_token"]
    return {
        "tokenizer": described["tokenizer"] or "none: tokens without a text",
        "vocabulary": f"{described['vocab_size']:,} tokens",
        "bytes per token": "" if ratio is None else f"{ratio:.3f}",
        "for training": train,
        "for validation": validation,
        "validation is": _SPLITS[described["split"]],
        "sha256": described["sha256"],
        "shards": described.get("out") or described.get("folder", ""),
    }


def _sizes(described: dict[str, Any]) -> tuple[str, str]:
    train, validation = (_size(described[split]) for split in ("train", "validation"))
    total = described["train"]["tokens"] + described["validation"]["tokens"]
    return train, f"{validation} ({described['validation']['tokens'] / total:.1%} of the tokens)"


def _size(split: dict[str, Any]) -> str:
    documents = "" if split["documents"] is None else f"{split['documents']:,} documents, "
    size = "" if split["bytes"] is None else f", {split['bytes']:,} bytes"
    return f"{documents}{split['tokens']:,} tokens{size}"
