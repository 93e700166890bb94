"""The token before each token."""

import torch
from torch import Tensor

from mixers.ops.documents import check_documents, starts


def token_shift(x: Tensor, state: Tensor | None = None, *, documents: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Put at each token what the one before it is, zeros at the first.

    Args:
        x: ``(b, t, d)``.
        state: the token before `x`, ``(b, d)``; None for zeros.
        documents: which document each token belongs to, ``(b, t)``, int64: the first token of each finds zeros, that
            of the row's first one the `state`.

    Returns:
        The tokens before, ``(b, t, d)``, and the last of `x`.

    Raises:
        ValueError: `documents` has another shape than the tokens.
    """
    first = torch.zeros_like(x[:, 0]) if state is None else state.to(x.dtype)
    before = torch.cat([first[:, None], x[:, :-1]], dim=1)
    if documents is not None:
        check_documents(documents, x)
        within = torch.cat([torch.ones_like(documents[:, :1], dtype=torch.bool), ~starts(documents)[:, 1:]], dim=1)
        before = before.masked_fill(~within[..., None], 0)
    # A clone, since a view would keep every token of a long sequence alive.
    return before, x[:, -1].clone()
