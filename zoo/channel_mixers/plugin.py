"""Hands the built-in channel mixers over to the zoo."""

from zoo import ChannelMixer, hookimpl
from zoo.channel_mixers.feed_forward import GEGLU, MLP, NoChannelMixer, ReLU2, SwiGLU


@hookimpl
def zoo_channel_mixers() -> dict[str, type[ChannelMixer]]:
    """The built-in channel mixers, by name."""
    return {"swiglu": SwiGLU, "geglu": GEGLU, "mlp": MLP, "relu2": ReLU2, "none": NoChannelMixer}
