"""What the tokens of a chunk read of each other under decays a channel that may be of any strength."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from mixers.ops.decay_chunks import ZERO
from mixers.ops.halving import diagonals, distances, early, late, sizes, squares, triangles


class Between(NamedTuple):
    """What decays couple in a chunk: its tokens with each other, and with what comes before and after.

    Args:
        pairs: each row with each column, ``(b, h, n, r, s, c, c)``, zero where the column is later.
        rows: decayed from the start of the chunk, ``(b, h, n, c, r, k)``.
        columns: decayed to the end of the chunk, ``(b, h, n, c, s, k)``.
        whole: the decay of the whole chunk, ``(b, h, n, k)``.
    """

    pairs: Tensor
    rows: Tensor
    columns: Tensor
    whole: Tensor


def safe_pairs(rows: Tensor, columns: Tensor, log_decay: Tensor, *, after: int) -> Between:
    """Every product of what a token reads along and what an earlier one wrote along, decayed in between.

        pairs[i, j] = sum_k rows[i, k] * columns[j, k] * exp(sum_m log_decay[m, k])     over j < m < i

    A row that reads after its own decay counts that one too, and its own column. The triangle is cut into squares
    (`mixers.ops.halving`), matrix products of two factors that decay. All decays are products of those of single
    tokens: nothing overflows, a strong one takes no digits from a weak one, and none is measured first.

    Args:
        rows: ``(b, h, n, c, r, k)``, r of a token, c a power of two.
        columns: ``(b, h, n, c, s, k)``, s of a token.
        log_decay: ``(b, h, n, c, k)``, zero or less.
        after: how many of a token's rows, the last of them, read after its decay.
    """
    chunks = rows.shape[:3]
    found = _SafePairs.apply(*(x.flatten(0, 2) for x in (rows, columns, log_decay)), after)
    return Between(*(x.unflatten(0, chunks) for x in found))


class _SafePairs(torch.autograd.Function):
    """Keeps its inputs and the decay of each token. Left to autograd, it would keep every product of them.

    The gradient of a log decay is what passed through it: the sum over all later rows, each times its gradient, less
    the sum over those columns that are not earlier, each times its gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, columns: Tensor, log_decay: Tensor, after: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        decay = log_decay.exp()
        ctx.save_for_backward(rows, columns, log_decay, decay)
        ctx.after, c, across = after, rows.shape[1], (rows.shape[2], columns.shape[2])
        pairs = rows.new_zeros(rows.shape[0], *across, c, c)
        faded = _faded(rows, decay, after)
        row, column, decays = (triangles(x) for x in (faded, columns, decay))
        for distance, here, there in distances(c)[1:]:
            known = _times(column[:, :, there], _inner(decays, distance))
            products = (row[:, :, here, :, None] * known[:, :, :, None]).sum(-1)
            diagonals(pairs, distance).copy_(products.permute(0, 3, 4, 1, 2))
        if after:
            own = (rows[:, :, -after:, None] * columns[:, :, None]).sum(-1)
            pairs[:, -after:].diagonal(dim1=-2, dim2=-1).copy_(own.permute(0, 2, 3, 1))
        ways = _Ways.within_triangles(decays)
        for size in reversed(sizes(c)):
            square = _matrix(faded, ways.start, late, size) @ _matrix(columns, ways.end, early, size).mT
            apart = square.unflatten(3, (size, across[1])).unflatten(2, (size, across[0]))
            squares(pairs, size).copy_(apart.permute(0, 3, 5, 2, 4, 1))
            ways = ways.doubled(size)
        return pairs, faded * ways.start[:, :, None], columns * ways.end[:, :, None], ways.whole.squeeze(1)

    @staticmethod
    def backward(
        ctx: Any, to_pairs: Tensor, to_start: Tensor, to_end: Tensor, to_whole: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        rows, columns, log_decay, decay = ctx.saved_tensors
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # a gradient of the gradient is asked for
            inputs = rows, columns, log_decay
            plain = zip(_plain_pairs(*inputs, ctx.after), (to_pairs, to_start, to_end, to_whole), strict=True)
            outs, gradients = zip(*((out, to_out) for out, to_out in plain if out.requires_grad), strict=True)
            wanted = [x for x in inputs if x.requires_grad]
            found = iter(torch.autograd.grad(outs, wanted, gradients, create_graph=True))
            to_rows, to_columns, to_log = (next(found) if x.requires_grad else None for x in inputs)
            return to_rows, to_columns, to_log, None
        after, c, across = ctx.after, rows.shape[1], to_pairs.shape[1:3]
        faded = _faded(rows, decay, after)
        to_faded, to_columns = torch.zeros_like(rows), torch.zeros_like(columns)
        row, column, decays = (triangles(x) for x in (faded, columns, decay))
        to_row, to_column = triangles(to_faded), triangles(to_columns)
        for distance, here, there in distances(c)[1:]:
            weights, inner = diagonals(to_pairs, distance).permute(0, 3, 4, 1, 2)[..., None], _inner(decays, distance)
            for j in range(across[1]):
                known = column[:, :, there, j] if inner is None else column[:, :, there, j] * inner
                for i in range(across[0]):
                    seen = row[:, :, here, i] if inner is None else row[:, :, here, i] * inner
                    to_row[:, :, here, i].addcmul_(weights[:, :, :, i, j], known)
                    to_column[:, :, there, j].addcmul_(weights[:, :, :, i, j], seen)
        ways = _Ways.within_triangles(decays)
        for size in reversed(sizes(c)):
            square = squares(to_pairs, size).permute(0, 5, 3, 1, 4, 2).flatten(4, 5).flatten(2, 3)
            known, seen = _matrix(columns, ways.end, early, size), _matrix(faded, ways.start, late, size)
            to_late = (square @ known).unflatten(2, (size, across[0]))
            to_early = (square.mT @ seen).unflatten(2, (size, across[1]))
            late(to_faded, size).addcmul_(to_late, late(ways.start, size)[..., None, :])
            early(to_columns, size).addcmul_(to_early, early(ways.end, size)[..., None, :])
            ways = ways.doubled(size)
        from_columns = _products(columns, to_columns)
        to_faded.addcmul_(to_start, ways.start[:, :, None])
        to_ended = to_end * ways.end[:, :, None]
        to_columns += to_ended
        to_log = _later(_products(faded, to_faded) - from_columns) - from_columns
        to_log += _earlier(_products(columns, to_ended))
        to_log += (to_whole * ways.whole.squeeze(1))[:, None]
        if after:
            to_log += _products(faded[:, :, -after:], to_faded[:, :, -after:])
            to_faded[:, :, -after:] *= decay[:, :, None]
            weights = to_pairs[:, -after:].diagonal(dim1=-2, dim2=-1).permute(0, 3, 1, 2)[..., None]
            to_faded[:, :, -after:] += (weights * columns[:, :, None]).sum(3)
            to_columns += (weights * rows[:, :, -after:, None]).sum(2)
        return to_faded, to_columns, to_log, None


class _Ways(NamedTuple):
    """What decays leave on the ways through blocks of tokens, all products of those of single tokens.

    Args:
        start: from the start of a token's block to before its own decay, ``(b, c, k)``.
        end: from behind a token to the end of its block, ``(b, c, k)``.
        whole: through each block, ``(b, blocks, k)``.
    """

    start: Tensor
    end: Tensor
    whole: Tensor

    @staticmethod
    def within_triangles(decays: Tensor) -> "_Ways":
        """In the smallest triangles, of the decays of their tokens, ``(b, blocks, s, k)``."""
        last = decays.shape[2] - 1
        start, end = torch.ones_like(decays), torch.ones_like(decays)
        for token in range(last):
            start[:, :, token + 1] = start[:, :, token] * decays[:, :, token]
            end[:, :, last - token - 1] = end[:, :, last - token] * decays[:, :, last - token]
        return _Ways(start.flatten(1, 2), end.flatten(1, 2), start[:, :, last] * decays[:, :, last])

    def doubled(self, size: int) -> "_Ways":
        """In blocks of twice that size, in the same memory."""
        first, second = self.whole.unflatten(1, (-1, 2)).unbind(2)
        late(self.start, size).mul_(first[:, :, None])
        early(self.end, size).mul_(second[:, :, None])
        return self._replace(whole=first * second)


def _plain_pairs(rows: Tensor, columns: Tensor, log_decay: Tensor, after: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same by the formula, with the decay of every pair."""
    every = torch.ones(rows.shape[1], rows.shape[1], dtype=rows.dtype, device=rows.device)
    log_decay = log_decay.clamp_min(ZERO[rows.dtype])  # 0 times -inf would be no number
    between = every.tril(-1)[:, None] * every.triu(1)  # of i, j and m: j < m < i
    decay = torch.einsum("ijm,nmk->nijk", between, log_decay).exp() * every.tril(-1)[..., None]
    pairs = torch.einsum("nirk,njsk,nijk->nrsij", _faded(rows, log_decay.exp(), after), columns, decay)
    if after:
        own = torch.einsum("nirk,nisk->nrsi", rows[:, :, -after:], columns)
        pairs = torch.cat([pairs[:, :-after], pairs[:, -after:] + torch.diag_embed(own)], dim=1)
    start, end = (x.exp()[:, :, None] for x in (_earlier(log_decay), _later(log_decay)))
    return pairs, _faded(rows, log_decay.exp(), after) * start, columns * end, log_decay.sum(1).exp()


def _faded(rows: Tensor, decay: Tensor, after: int) -> Tensor:
    """The rows, of which the last so many of a token are decayed with it."""
    if not after:
        return rows
    if after == rows.shape[2]:
        return rows * decay[:, :, None]
    return torch.cat([rows[:, :, :-after], rows[:, :, -after:] * decay[:, :, None]], dim=2)


def _inner(decays: Tensor, distance: int) -> Tensor | None:
    """What the tokens between two at a distance leave, in the smallest triangles; None of neighbours."""
    left = None
    for between in range(1, distance):
        factor = decays[:, :, between : decays.shape[2] - distance + between]
        left = factor if left is None else left * factor
    return left


def _times(x: Tensor, decay: Tensor | None) -> Tensor:
    return x if decay is None else x * decay[..., None, :]


def _matrix(x: Tensor, decay: Tensor, part: Any, size: int) -> Tensor:
    """Decayed vectors of the early or late tokens of squares as rows of a matrix, ``(b, squares, size * r, k)``."""
    return (part(x, size) * part(decay, size)[..., None, :]).flatten(2, 3)


def _products(x: Tensor, y: Tensor) -> Tensor:
    """Summed over the vectors of a token, ``(b, c, k)``."""
    return x[:, :, 0] * y[:, :, 0] if x.shape[2] == 1 else (x * y).sum(2)


def _later(x: Tensor) -> Tensor:
    """The sum over all later tokens of a chunk, ``(b, c, k)``."""
    c = x.shape[1]
    return torch.ones(c, c, dtype=x.dtype, device=x.device).triu(1) @ x


def _earlier(x: Tensor) -> Tensor:
    """The sum over all earlier tokens of a chunk, ``(b, c, k)``."""
    c = x.shape[1]
    return torch.ones(c, c, dtype=x.dtype, device=x.device).tril(-1) @ x
