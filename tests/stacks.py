"""Residual schemes for layers that a test puts together by hand."""

from zoo.model.stack import site_roles
from zoo.residuals.pre_norm import PreNorm


def pre_norm(layers, dim, scale=1.0):
    """`pre-norm` whose writes are multiplied by a given number."""
    residual = PreNorm(dim, sites=len(site_roles(layers)), layers=1)
    residual.scale = scale
    return residual
