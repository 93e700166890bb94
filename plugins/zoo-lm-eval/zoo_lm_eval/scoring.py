"""How likely tokens are: rows of unlike lengths, measured in batches by the zoo's own evaluation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zoo import IGNORE, Backbone
from zoo.data.batches import number_documents
from zoo.data.source import Batch
from zoo.train.evaluate import evaluate

Progress = Callable[[int, int], None]
"""Is called with how many rows are done, and of how many."""


@dataclass(frozen=True, eq=False)
class Row:
    """Tokens that the model reads at once.

    Attributes:
        request: the number of the request that it is a part of.
        tokens: those that are read, and behind them the last target, ``(t + 1,)``, int64.
        targets: how many of the last tokens are predicted.
    """

    request: int
    tokens: np.ndarray
    targets: int


@dataclass(frozen=True, eq=False)
class Likelihoods:
    """What was measured of each request, ``(requests,)`` each.

    Attributes:
        nats: minus the log-likelihood of its targets.
        targets: how many there are.
        greedy: whether each of them is the likeliest token.
    """

    nats: np.ndarray
    targets: np.ndarray
    greedy: np.ndarray


def consecutive_rows(request: int, tokens: np.ndarray, length: int) -> Iterator[Row]:
    """Cut a text as the zoo does for its own loss: side by side, so that every token but the first is a target once.

    Args:
        request: the number of the request.
        tokens: the text, ``(t,)``.
        length: tokens that are read at once.
    """
    for start in range(0, len(tokens) - 1, length):
        window = tokens[start : start + length + 1]
        yield Row(request, window, len(window) - 1)


def continuation_rows(request: int, tokens: np.ndarray, first: int, length: int | None) -> Iterator[Row]:
    """Predict ``tokens[first:]``, with all that comes before, or as much of it as the model can read.

    Args:
        request: the number of the request.
        tokens: context and continuation, ``(t,)``.
        first: where the continuation starts; 1 or more.
        length: how many tokens the model reads at once; None for any number. Of a longer context the beginning is left
            out, and a longer continuation takes several rows.
    """
    length = length or len(tokens)
    while first < len(tokens):
        end = min(len(tokens), first + length)
        yield Row(request, tokens[max(0, end - 1 - length) : end], end - first)
        first = end


def measure(
    model: Backbone,
    rows: Sequence[Row],
    requests: int,
    *,
    precision: str,
    tokens_at_once: int,
    separator: int | None = None,
    progress: Progress = lambda _done, _all: None,
) -> Likelihoods:
    """Add up what the model makes of the rows, for each request.

    Args:
        model: is put back into the mode (training or not) in which it came.
        rows: of all requests, in any order.
        requests: how many there are.
        precision: ``"fp32"`` or ``"bf16"``.
        tokens_at_once: about how many the model reads in a batch; at least one row.
        separator: the token that ends a document, where documents are separate: what follows it is no target.
        progress: is called after each batch.
    """
    # the longest first: if they need too much memory, that is seen at once
    ordered = sorted(rows, key=lambda row: -len(row.tokens))
    batches = _batches(ordered, tokens_at_once, separator, progress)
    score = evaluate(model, batches, precision=precision, by_sequence=True)
    sums = np.zeros((requests, 4))
    if ordered:
        np.add.at(sums, [row.request for row in ordered], torch.cat(score.sequences).numpy())
    nats, targets, correct, _ = sums.T
    return Likelihoods(nats, targets, correct == targets)


def _batches(rows: list[Row], tokens_at_once: int, separator: int | None, progress: Progress) -> Iterator[Batch]:
    done = 0
    while done < len(rows):
        count = max(1, tokens_at_once // len(rows[done].tokens))
        yield _batch(rows[done : done + count], separator)
        done = min(done + count, len(rows))
        progress(done, len(rows))


def _batch(rows: list[Row], separator: int | None) -> Batch:
    """Rows of one length. Shorter ones are padded after their targets, which do not depend on that."""
    shape = len(rows), max(len(row.tokens) for row in rows) - 1
    inputs, targets = torch.zeros(shape, dtype=torch.int64), torch.full(shape, IGNORE)
    for index, row in enumerate(rows):
        read, tokens = len(row.tokens) - 1, torch.from_numpy(row.tokens)
        inputs[index, :read] = tokens[:-1]
        targets[index, read - row.targets : read] = tokens[1 + read - row.targets :]
    documents: Tensor | None = None
    if separator is not None:
        targets[inputs == separator] = IGNORE
        documents = number_documents(inputs, separator)
    offsets = torch.tensor([row.request for row in rows])
    # logits of a context that is only read would be most of the memory
    return Batch(inputs, targets, offsets, where=(targets != IGNORE).flatten().nonzero()[:, 0], documents=documents)
