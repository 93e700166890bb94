import pytest
import torch

from zoo.errors import UsageError
from zoo.lab.bench import machine
from zoo.lab.bench.machine import Peaks, measure_peaks, prepare
from zoo.lab.bench.request import Request
from zoo.train import peaks
from zoo.train.peaks import elapsed

PEAKS = Peaks(1e9, ((1000, 5e6), (10_000, 8e6), (100_000, 2e6)))


@pytest.mark.parametrize(("size", "speed"), [(10, 8e6), (1000, 8e6), (10_000, 8e6), (10_001, 2e6), (10**9, 2e6)])
def test_what_fits_a_cache_may_move_as_fast_as_anything_that_large(size, speed):
    assert PEAKS.bandwidth(size) == speed


def test_the_bound_is_the_longer_of_computing_and_moving():
    assert PEAKS.roofline_seconds(3_000_000, 1000) == pytest.approx(3e-3)
    assert PEAKS.roofline_seconds(3_000_000, 20_000) == pytest.approx(1e-2)


def test_peaks_are_of_the_fastest_matrix_product_and_copy(monkeypatch):
    for module in (machine, peaks):
        monkeypatch.setattr(module, "fastest", lambda call, device, seconds: call() is None or 2.0)
    measured = measure_peaks(torch.device("cpu"), "fp32")
    assert measured == Peaks(2 * 32**3 / 2.0, ((2**12, 2**12 / 2.0), (2**14, 2**14 / 2.0)))


def test_the_precision_is_that_of_the_matrices(monkeypatch):
    seen = []
    real = torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b, out: seen.append(a.dtype) or real(a, b, out=out))
    measure_peaks(torch.device("cpu"), "bf16")
    assert set(seen) == {torch.bfloat16}


def test_elapsed_calls_so_often():
    calls = []
    assert elapsed(lambda: calls.append(1), 7, torch.device("cpu")) > 0
    assert len(calls) == 7


def test_the_machine_is_settled():
    torch.set_num_threads(2)
    assert prepare(Request(patterns=("x",)))[0].threads == 2
    request, device = prepare(Request(patterns=("x",), threads=1))
    assert (device.type, request.threads, torch.get_num_threads()) == (request.device, 1, 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_told():
    with pytest.raises(UsageError, match=r"device 'cuda' cannot be used here .* try `device`=cpu"):
        prepare(Request(patterns=("x",), device="cuda"))


def test_the_best_of_two_measurements():
    other = Peaks(2e9, ((1000, 6e6), (10_000, 1e6), (100_000, 3e6)))
    assert PEAKS.best(other) == Peaks(2e9, ((1000, 6e6), (10_000, 8e6), (100_000, 3e6)))


@pytest.mark.parametrize(("reading", "speeds"), [(False, (3.0, 3.0)), (True, (3.0, 5.0))])
def test_sums_count_where_little_is_written(monkeypatch, reading, speeds):
    monkeypatch.setattr(machine, "_copy_bandwidth", lambda size, device: 3.0)
    monkeypatch.setattr(machine, "_read_bandwidth", lambda size, device: 1.0 if size == 2**12 else 5.0)
    measured = measure_peaks(torch.device("cpu"), "fp32", reading=reading)
    assert tuple(speed for _, speed in measured.bandwidths) == speeds


def test_a_sum_reads_so_many_bytes(monkeypatch):
    seen = []
    monkeypatch.setattr(machine, "fastest", lambda call, device, seconds: seen.append(call().item()) or 2.0)
    assert machine._read_bandwidth(4096, torch.device("cpu")) == 2048.0
    assert seen == [1024.0]
