"""Which layers of a model may be gathered one at a time."""

from collections import Counter

from zoo.model.backbone import Backbone
from zoo.model.layer import Layer


def layers_of_their_own(model: Backbone) -> list[Layer]:
    """The layers that share no parameter with another part of the model: what is shared is gathered with the rest."""
    used = Counter(parameter for layer in model.each_layer() for parameter in layer.parameters())
    used.update(parameter for name, parameter in model.named_parameters() if not name.startswith("layers."))
    return [layer for layer in model.each_layer() if all(used[parameter] == 1 for parameter in layer.parameters())]
