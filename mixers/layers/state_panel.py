"""The picture that gated recurrences have in common: what they keep from token to token."""

from torch import Tensor

from zoo import Panel

SHOWN_CHANNELS, SHOWN_TOKENS = 64, 128
"""The decays of so many channels and tokens are shown."""


def decay_panel(decay: Tensor, *, of: str = "channel") -> Panel:
    """What each token keeps of the state before it, in the first sequence.

    Args:
        decay: multiplicative, ``(b, t, d)``.
        of: what a row of the picture is.
    """
    shown = decay[0, :SHOWN_TOKENS, :SHOWN_CHANNELS].t()
    title = f"decay in the first sequence, {shown.shape[0]} {of}s and {shown.shape[1]} tokens"
    reading = "A column is a token: what is left of a state when it is read; 0 forgets all, 1 nothing."
    return Panel(title, reading, shown, quantity="decay", axes=(of, "token"))
