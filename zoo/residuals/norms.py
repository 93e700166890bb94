"""The norms of the schemes, and the scale of their writes."""

from typing import Literal, TypeAlias

from torch import nn

from zoo import RMSNorm

Norm: TypeAlias = Literal["rms", "layer", "none"]


def make_norm(kind: Norm, dim: int) -> nn.Module:
    """A norm over the channels, with learned gains; of a LayerNorm also biases."""
    return {"rms": RMSNorm, "layer": nn.LayerNorm, "none": nn.Identity}[kind](dim)


def make_norms(kind: Norm, dim: int, count: int) -> nn.ModuleList:
    """So many of them, one a site."""
    return nn.ModuleList(make_norm(kind, dim) for _ in range(count))


def depth_scale(layers: int) -> float:
    """By what writes are multiplied so that the stream keeps its size however deep the model is.

    Source: Yang et al. 2023, arXiv:2310.02244.
    """
    return (2 * layers) ** -0.5
