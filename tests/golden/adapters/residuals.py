"""Adapters of what residual schemes compute."""

from zoo.residuals.attention_residuals import attend_over_depth


def attention_residuals(query, residuals, rms_weight):
    selected, weights = attend_over_depth(query, residuals.unbind(), rms_weight)
    return {"o": selected, "p": weights}


ADAPTERS = {"attnres": attention_residuals}
