"""Packed rows: several documents in one row, each of which is to be computed as if it were alone."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from zoo.contract import Mixed, check_losses, check_write, kind_of
from zoo.errors import UsageError, WriteError


@dataclass(frozen=True, eq=False)
class Documents:
    """The documents of a batch of packed rows.

    Attributes:
        ids: which document of its row a token belongs to, ``(b, t)``, int64, counted from 0: equal numbers are one
            document, also where the ids that were given come again.
        positions: of each token in its document, ``(b, t)``.
        groups: the documents by length: each the indices of their tokens into all ``b * t``, ``(n, length)``.
    """

    ids: Tensor
    positions: Tensor
    groups: Sequence[Tensor]

    @property
    def longest(self) -> int:
        """Tokens of the longest document."""
        return max(group.shape[1] for group in self.groups)

    @property
    def are_rows(self) -> bool:
        """Whether each row is one document."""
        return self.longest == self.ids.shape[1] and len(self.groups) == 1

    @classmethod
    def of(cls, ids: Tensor) -> "Documents":
        """The documents of ids, ``(b, t)``: maximal runs of equal ids in a row."""
        first = torch.ones_like(ids, dtype=torch.bool)
        first[:, 1:] = ids[:, 1:] != ids[:, :-1]
        starts = first.flatten().nonzero()[:, 0]
        lengths = torch.diff(starts, append=starts.new_tensor([ids.numel()]))
        positions = torch.arange(ids.numel(), device=ids.device) - starts.repeat_interleave(lengths)
        groups = [
            starts[lengths == length][:, None] + torch.arange(length, device=ids.device)
            for length in lengths.unique().tolist()
        ]
        return cls(first.cumsum(1) - 1, positions.view_as(ids), groups)


def check_documents(documents: object, tokens: Tensor) -> Tensor:
    """Refuse document ids that do not fit tokens, ``(b, t)``.

    Raises:
        UsageError: they are no int64 tensor of that shape.
    """
    expected = f"expected int64 {tuple(tokens.shape)}, the document of each token"
    if not isinstance(documents, Tensor):
        raise UsageError(f"documents is {kind_of(documents)}: {expected}")
    if documents.shape != tokens.shape or documents.dtype != torch.int64:
        dtype = str(documents.dtype).removeprefix("torch.")
        raise UsageError(f"documents is {dtype} {tuple(documents.shape)}: {expected}")
    return documents


def mix_by_document(
    mix: Callable[[Tensor, Mapping[str, Any] | None], Tensor | Mixed],
    part: nn.Module,
    read: Tensor,
    shared: Mapping[str, Any] | None,
    documents: Documents,
) -> Mixed:
    """Run a part on each document by itself, on those of one length together.

    Args:
        mix: the part, of reads and of what it is given of what earlier layers shared.
        part: whose it is, for errors.
        read: ``(b, t, d)``.
        shared: tensors ``(b, t, …)``; None if the part takes none.
        documents: of those rows.

    Returns:
        The writes, ``(b, t, d)``, and what is shared, ``(b, t, …)``. Losses and metrics are averaged over tokens;
        metrics of whole numbers, which are counts, are added up; those whose shape depends on the length are left out.

    Raises:
        WriteError: what is shared has another shape, so that it cannot be cut or joined.
    """
    if documents.are_rows:
        return Mixed.of(mix(read, shared), part)
    pieces = []
    for group in documents.groups:
        cut = None if shared is None else {name: _cut(part, name, value, read, group) for name, value in shared.items()}
        of_documents = read.flatten(0, 1)[group]
        mixed = Mixed.of(mix(of_documents, cut), part)
        check_write(part, mixed.out, of_documents)
        check_losses(part, mixed.losses)
        pieces.append(mixed)
    order = torch.cat([group.flatten() for group in documents.groups]).argsort()
    tokens = [group.numel() for group in documents.groups]
    return Mixed(
        _join([mixed.out for mixed in pieces], order, read),
        _averages([mixed.losses for mixed in pieces], tokens),
        _averages([mixed.metrics for mixed in pieces], tokens),
        _join_shared(part, [mixed.shared for mixed in pieces], documents, order, read),
    )


def _cut(part: nn.Module, name: str, value: Any, read: Tensor, group: Tensor) -> Any:
    def cut(leaf: Tensor) -> Tensor:
        if leaf.shape[:2] != read.shape[:2]:
            raise WriteError(part, _cannot_cut(name, leaf, read))
        return leaf.flatten(0, 1)[group]

    return tree_map(cut, value)


def _join(pieces: Sequence[Tensor], order: Tensor, read: Tensor) -> Tensor:
    """Tensors ``(n, length, …)`` of the groups, as one of the packed rows, ``(b, t, …)``."""
    return torch.cat([piece.flatten(0, 1) for piece in pieces])[order].unflatten(0, read.shape[:2])


def _join_shared(
    part: nn.Module, pieces: Sequence[Mapping[str, Any]], documents: Documents, order: Tensor, read: Tensor
) -> dict[str, Any]:
    for piece, group in zip(pieces, documents.groups, strict=True):
        for name, value in piece.items():
            for leaf in tree_leaves(value):
                if leaf.shape[:2] != group.shape:
                    raise WriteError(part, _cannot_cut(name, leaf, group))
    names = pieces[0].keys()
    return {
        name: tree_map(lambda *leaves: _join(leaves, order, read), *(piece[name] for piece in pieces)) for name in names
    }


def _cannot_cut(name: str, leaf: Tensor, read: Tensor) -> str:
    wanted = f"({read.shape[0]}, {read.shape[1]}, …)"
    return (
        f"shared {name!r} is {tuple(leaf.shape)} and not {wanted}, so it cannot be cut into documents: "
        "name `documents` in the signature of forward"
    )


def _averages(pieces: Sequence[Mapping[str, Tensor]], tokens: Sequence[int]) -> dict[str, Tensor]:
    """Means over tokens of what groups of documents measured, by name; whole numbers are added up."""
    found: dict[str, list[tuple[int, Tensor]]] = defaultdict(list)
    for measured, count in zip(pieces, tokens, strict=True):
        for name, value in measured.items():
            found[name].append((count, torch.as_tensor(value)))
    return {
        name: _average([value for _, value in pairs], [count for count, _ in pairs])
        for name, pairs in found.items()
        if len({value.shape for _, value in pairs}) == 1
    }


def _average(values: Sequence[Tensor], weights: Sequence[int]) -> Tensor:
    stacked = torch.stack(list(values))
    if not (stacked.is_floating_point() or stacked.is_complex() or stacked.dtype == torch.bool):
        return stacked.sum(0)
    stacked = stacked.to(torch.promote_types(stacked.dtype, torch.float32))
    shares = torch.tensor(weights, dtype=stacked.dtype, device=stacked.device) / sum(weights)
    return torch.einsum("n,n...->...", shares, stacked)
