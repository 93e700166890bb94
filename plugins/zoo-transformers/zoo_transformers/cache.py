"""The state of a model between steps, in the place of a cache of keys and values."""

from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_map


class StateCache:
    """What the mixers of a model keep of the tokens so far: a convolution its tail, a recurrence its state.

    It has the methods of a cache of transformers that `generate` calls, and as there `forward` updates it in place.
    Its rows can be selected, as beams need, but it cannot go back by tokens.

    Args:
        state: what `zoo.Backbone.step` returned; None at the start.
        length: how many tokens it has seen.
    """

    is_compileable = False
    is_croppable = False

    def __init__(self, state: Any = None, length: int = 0) -> None:
        self.state, self.length = state, length

    @property
    def is_linear(self) -> list[bool]:
        """Whether each layer is without positions, so that a prompt is never cut where it was read before: no."""
        return [False]

    @property
    def is_sliding(self) -> list[bool]:
        """Whether each layer forgets what is behind a window: the mixers decide that by themselves."""
        return [False]

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002 - all layers have seen the same tokens
        """How many tokens it has seen."""
        return self.length

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:  # noqa: ARG002 - likewise
        """How many tokens it takes: any number, which transformers writes as -1."""
        return -1

    def reset(self) -> None:
        """Forget all tokens."""
        self.state, self.length = None, 0

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Continue the beams of these rows, ``(b,)``."""
        self._each(lambda rows: rows.index_select(0, beam_idx.to(rows.device)))

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Have each row so many times."""
        self._each(lambda rows: rows.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows."""
        self._each(lambda rows: rows[indices])

    def crop(self, *_: int) -> None:
        """Refuse to go back: the state sums up what came before.

        Raises:
            ValueError: always.
        """
        raise ValueError("the state of a mixer cannot go back by tokens: generate without an assistant model")

    def _each(self, select: Any) -> None:
        self.state = tree_map(lambda leaf: select(leaf) if isinstance(leaf, Tensor) else leaf, self.state)
