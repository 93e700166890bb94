"""Windows of tokens to train on, drawn as a pure function of the step, and to evaluate on, each token once."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from zoo.data.source import IGNORE, Batch
from zoo.data.tokens import DocumentIds, Tokens, windows_of
from zoo.errors import UsageError, check_seed


def draw_batch(
    tokens: Tokens,
    *,
    context: int,
    batch: int,
    seed: int,
    step: int,
    rank: int = 0,
    separator: int | None = None,
    document_ids: DocumentIds | None = None,
) -> Batch:
    """Draw windows at random, with replacement.

    The draw depends on `seed`, `step` and `rank` alone, through a counter-based generator (Philox: Salmon et al. 2011):
    a resumed run needs no state of a loader, and ranks draw independently of each other.

    Args:
        tokens: the text, ``(t,)``.
        context: tokens a window.
        batch: windows.
        seed: zero or more.
        step: zero or more.
        rank: of the process, or anything else that makes draws of one step differ.
        separator: the token that ends a document, where documents are separate: see `Batch.documents`. What follows it
            is no target, since nothing of its own document comes before.
        document_ids: the same of separate documents that no token separates.

    Raises:
        UsageError: a value out of range, or a text that is shorter than a window and its last target.
    """
    _check(tokens, context, batch)
    if seed < 0:
        raise UsageError(f"seed={seed} should be 0 or more")
    check_seed(seed)
    # Raw words, not numpy's Generator: only their stream is promised to be the same in every version of numpy.
    words = np.random.Philox(key=seed, counter=[0, step, rank, 0]).random_raw(batch)
    offsets = (words % np.uint64(len(tokens) - context)).astype(np.int64)
    return _windows(tokens, offsets, context, _numbering(separator, document_ids))


def evaluation_windows(
    tokens: Tokens,
    *,
    context: int,
    batch: int,
    limit: int | None = None,
    separator: int | None = None,
    document_ids: DocumentIds | None = None,
) -> Iterator[Batch]:
    """Cut a text into consecutive windows, so that every token but the first is a target exactly once.

    Args:
        tokens: the text, ``(t,)``.
        context: tokens a window. The last window is filled up with token 0, whose target is `IGNORE`.
        batch: windows at a time; the last time there may be fewer.
        limit: take about so many tokens, in windows spread evenly over the text; at least one window.
        separator, document_ids: as in `draw_batch`.

    Raises:
        UsageError: as in `draw_batch`, at once.
    """
    _check(tokens, context, batch)
    offsets = spread_windows(len(tokens) - 1, context, limit)
    chosen = len(offsets)
    numbering = _numbering(separator, document_ids)
    return (_padded(tokens, part, context, numbering) for part in np.split(offsets, range(batch, chosen, batch)))


def spread_windows(length: int, context: int, limit: int | None) -> np.ndarray:
    """Where consecutive windows of a text begin: all, or those of about `limit` tokens, spread evenly over the text."""
    total = -(-length // context)
    chosen = total if limit is None else min(total, max(1, limit // context))
    # The middles of equal parts: all windows in turn if all are chosen.
    return (2 * np.arange(chosen) + 1) * total // (2 * chosen) * context


def number_documents(inputs: Tensor, separator: int) -> Tensor:
    """Which document each token of a window belongs to, ``(b, t)``: how many separators come before it."""
    ends = (inputs == separator).to(torch.int64)
    return ends.cumsum(1) - ends


def ids_by_separator(separator: int) -> DocumentIds:
    """What numbers the documents of windows where a token ends each of them."""
    return lambda windows, _offsets: number_documents(torch.from_numpy(windows), separator).numpy()


def _numbering(separator: int | None, document_ids: DocumentIds | None) -> DocumentIds | None:
    if separator is None:
        return document_ids
    return ids_by_separator(separator)


def _windows(tokens: Tokens, offsets: np.ndarray, context: int, numbering: DocumentIds | None) -> Batch:
    windows = windows_of(tokens, offsets, context + 1).astype(np.int64)
    inputs, targets = torch.from_numpy(windows[:, :-1].copy()), torch.from_numpy(windows[:, 1:].copy())
    if numbering is None:
        return Batch(inputs, targets, torch.from_numpy(offsets))
    documents = torch.from_numpy(numbering(windows, offsets))
    targets[documents[:, 1:] != documents[:, :-1]] = IGNORE
    return Batch(inputs, targets, torch.from_numpy(offsets), documents=documents[:, :-1].clone())


def _padded(tokens: Tokens, offsets: np.ndarray, context: int, numbering: DocumentIds | None) -> Batch:
    # The last window may stick out: it is read further to the left, and moved.
    reach = np.minimum(offsets, len(tokens) - 1 - context)
    batch = _windows(tokens, reach, context, numbering)
    missing = int(offsets[-1] - reach[-1])
    if missing:
        _move_last(batch.inputs, missing, 0)
        _move_last(batch.targets, missing, IGNORE)
        if batch.documents is not None:  # what fills the window up goes with the last document, behind its end
            _move_last(batch.documents, missing, int(batch.documents[-1, -1]))
    return replace(batch, offsets=torch.from_numpy(offsets))


def _move_last(rows: Tensor, steps: int, fill: int) -> None:
    """Move the last row to the left, and fill it up."""
    rows[-1] = torch.cat([rows[-1, steps:], rows.new_full((steps,), fill)])


def _check(tokens: Tokens, context: int, batch: int) -> None:
    if context < 1 or batch < 1:
        raise UsageError(f"context={context} and batch={batch} should be 1 or more")
    if len(tokens) < 2:
        raise UsageError(f"a text of {len(tokens)} tokens is too short: a token and the one after it make two")
    if len(tokens) <= context:
        raise UsageError(
            f"context={context} is too long for a text of {len(tokens)} tokens: a window needs {context + 1} of them, "
            f"choose a `context` below {len(tokens)} or pass a longer text"
        )
