"""What a memory that learns at test time is taught: keys to values, through a layer norm."""

from collections.abc import Callable

from torch import Tensor

EPSILON = 1e-6
"""Added to the variance in the layer norm."""

Gradient = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From a prediction, a target, a gain and a bias to the gradient of a loss with respect to the prediction."""


def layer_norm_gradient(
    prediction: Tensor, target: Tensor, gain: Tensor, bias: Tensor, epsilon: float = EPSILON
) -> Tensor:
    """The gradient of ``1/2 |LN(prediction) - target|**2`` with respect to the prediction.

        LN(z) = gain * z^ + bias,   z^ = (z - mean z) / s,   s = sqrt(var z + epsilon)
        gradient = (g - mean(g) - z^ mean(g z^)) / s,   g = gain * (LN(z) - target)

    Args:
        prediction: ``(..., v)``.
        target: the same.
        gain: ``(v,)``, or what fits the prediction.
        bias: the same.
        epsilon: bounds the gradient where a prediction is nearly constant over its channels.
    """
    centred = prediction - prediction.mean(-1, keepdim=True)
    scale = (centred.square().mean(-1, keepdim=True) + epsilon).rsqrt()
    normed = centred * scale
    outer = gain * (gain * normed + bias - target)
    along = normed * (outer * normed).mean(-1, keepdim=True)
    return scale * (outer - outer.mean(-1, keepdim=True) - along)
