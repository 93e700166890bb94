"""Hands the built-in channel mixers over to the zoo."""

from zoo import ChannelMixer, hookimpl
from zoo.channel_mixers.feed_forward import MLP, NoChannelMixer, SwiGLU


@hookimpl
def zoo_channel_mixers() -> dict[str, type[ChannelMixer]]:
    """The built-in channel mixers, by name."""
    return {"swiglu": SwiGLU, "mlp": MLP, "none": NoChannelMixer}
