"""Freed memory is kept for the next step where the C library is glibc and the user has not chosen otherwise."""

import ctypes
import platform
import subprocess
import sys

import pytest

from zoo.train import allocator
from zoo.train.allocator import is_chosen, keep_freed_memory

GLIBC = platform.libc_ver()[0] == "glibc"

FAULTS = """
import resource, sys
from zoo.train.allocator import keep_freed_memory
import torch
if sys.argv[1] == "kept":
    assert keep_freed_memory({})
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(12_000_000)  # beyond 32 MiB, up to which glibc learns by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


class Library:
    def __init__(self, taken):
        self.taken, self.calls = taken, []
        self.gnu_get_libc_version = None

    def mallopt(self, parameter, value):
        self.calls.append((parameter, value))
        return int(parameter != -3 or value <= self.taken)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"PATH": "/bin", "LD_PRELOAD": "/usr/lib/libfaketime.so"}, False),
        ({"GLIBC_TUNABLES": "glibc.pthread.rseq=0"}, False),
        ({"MALLOC_ARENA_MAX": "1"}, True),
        ({"MALLOC_TRIM_THRESHOLD_": "1"}, True),
        ({"GLIBC_TUNABLES": "glibc.malloc.check=3"}, True),
        ({"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"}, True),
    ],
    ids=str,
)
def test_what_the_user_has_chosen_stays(environ, expected, monkeypatch):
    library = Library(1 << 30)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    assert is_chosen(environ) is expected
    assert keep_freed_memory(environ) is not expected
    assert bool(library.calls) is not expected


def test_an_older_glibc_takes_a_lower_threshold(monkeypatch):
    library = Library(32 << 20)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    assert keep_freed_memory({})
    assert library.calls == [(-3, 1 << 30), (-3, 32 << 20), (-1, -1)]


@pytest.mark.parametrize("failure", [OSError, TypeError])
def test_where_there_is_no_glibc_nothing_happens(monkeypatch, failure):
    def fail(_):
        raise failure

    monkeypatch.setattr(allocator.ctypes, "CDLL", fail)
    assert not keep_freed_memory({})
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: object())
    assert not keep_freed_memory({})


@pytest.mark.slow
@pytest.mark.skipif(not GLIBC, reason="another C library")
def test_a_tensor_that_is_made_again_costs_no_page_fault():
    counts = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True, text=True).stdout)
        for how in ("kept", "given")
    }
    assert counts["kept"] < counts["given"] / 10
    assert counts["given"] > 10_000
