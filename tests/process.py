"""How a process is set up in which tests run."""

import base64
import gc
import os
import signal

import pytest
import torch
from hypothesis import HealthCheck, settings

from zoo.lab.bench import machine, measure
from zoo.pages import picture

settings.register_profile("everyday", max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("everyday"), max_examples=25, derandomize=True)
settings.register_profile("thorough", parent=settings.get_profile("everyday"), max_examples=300)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "everyday"))

# Small tensors gain nothing from more threads, and parallel test workers fight over them.
torch.set_num_threads(1)

# A shell that starts the tests in the background has Ctrl-C ignored, which they would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """What is there by now stays: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
    gc.enable()


EMPTY_PICTURES = {
    "svg": b'<svg width="1pt" height="1pt"></svg>',
    "png": base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
    ),
}
painted = picture._file

# A benchmark looks for the limits of the machine, and measures until its figures are precise: no test is about those.
machine._SECONDS, machine._MATRICES, machine._COPIES = 0.02, (128,), (2**12, 2**18)
measure.MIN_SECONDS, measure._WARM_SECONDS = 1e-4, 0.0


@pytest.hookimpl(tryfirst=True)  # before fixtures, which may make pictures
def pytest_runtest_setup(item):
    """Figures are made for all tests, and painted for those that look at them: that takes most of a small run."""
    is_looked_at = item.get_closest_marker("pictures") is not None
    picture._file = painted if is_looked_at else lambda figure, form: EMPTY_PICTURES[form]
