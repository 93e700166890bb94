"""Whether counts are what probabilities say."""

import numpy as np


def excess(counts, probabilities):
    """Pearson's chi-square of counts against probabilities, in standard deviations above its mean.

    It has n - 1 degrees of freedom, hence the mean n - 1 and the variance 2 (n - 1): a draw by the probabilities
    comes out within about 4, and each expected count should be 5 or more.
    """
    counts, expected = np.asarray(counts), np.asarray(probabilities) * np.sum(counts)
    assert expected.min() >= 5
    freedom = len(counts) - 1
    return (((counts - expected) ** 2 / expected).sum() - freedom) / (2 * freedom) ** 0.5


def counted(numbers, count):
    return np.bincount(np.ravel(numbers), minlength=count)
