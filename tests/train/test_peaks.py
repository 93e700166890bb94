import json

import pytest
import torch

from zoo.train import peaks
from zoo.train.peaks import measure_flops, peak_flops

CPU = torch.device("cpu")


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """What each measurement gives, the next one first; every one that is made is taken out."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    results = [1e11, 2e11, 3e11]
    monkeypatch.setattr(peaks, "measure_flops", lambda *_given, **_options: results.pop(0))
    monkeypatch.setattr(peaks, "read_times", lambda: None)
    return results


def test_the_fastest_product_counts(monkeypatch):
    seconds = iter([2.0, 5.0])
    monkeypatch.setattr(peaks, "fastest", lambda call, device, limit: call() is None or next(seconds))
    assert measure_flops(CPU, "fp32", sizes=(8, 16), seconds=0.1) == 2 * 16**3 / 5.0


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_precision_is_that_of_the_matrices(monkeypatch, precision, dtype):
    seen, real = [], torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b, out: seen.append(a.dtype) or real(a, b, out=out))
    assert measure_flops(CPU, precision, sizes=(8,), seconds=1e-4) > 0
    assert set(seen) == {dtype}


def test_a_machine_is_measured_once(measured):
    assert [peak_flops(CPU, "fp32") for _ in range(3)] == [1e11] * 3
    assert len(measured) == 2


@pytest.mark.parametrize(("waited", "second"), [(4, 1e11), (6, 2e11)])
def test_what_others_disturbed_is_not_kept(measured, monkeypatch, waited, second):
    times = [(0, 0), (100 - waited, waited)] * 2
    monkeypatch.setattr(peaks, "read_times", lambda: times.pop(0))
    assert [peak_flops(CPU, "fp32") for _ in range(2)] == [1e11, second]


def test_another_precision_thread_count_processor_or_torch_is_measured_anew(measured, monkeypatch):
    assert peak_flops(CPU, "fp32") == 1e11
    assert peak_flops(CPU, "bf16") == 2e11
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        assert peak_flops(CPU, "fp32") == 3e11
    finally:
        torch.set_num_threads(before)
    for target in ("cpu_name", None):
        with monkeypatch.context() as patched:
            if target:
                patched.setattr(peaks, target, lambda: "another")
            else:
                patched.setattr(torch, "__version__", "another")
            with pytest.raises(IndexError):
                peak_flops(CPU, "fp32")


def test_what_was_reached_is_no_more_than_the_peak(measured):
    peak_flops(CPU, "fp32")
    assert peak_flops(CPU, "fp32", at_least=0.9e11) == 1e11
    assert peak_flops(CPU, "fp32", at_least=1.5e11) == 2e11
    measured[:] = [0.5e11]
    assert peak_flops(CPU, "fp32", at_least=9e11) == 2e11  # the best that was ever measured
    assert measured == []


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"flops": null}', '{"flops": "fast"}', '{"flops": -1}'])
def test_a_damaged_file_is_measured_again(measured, tmp_path, content):
    peak_flops(CPU, "fp32")
    (path,) = (tmp_path / "cache" / "peaks").iterdir()
    path.write_text(content)
    assert peak_flops(CPU, "fp32") == 2e11
    assert json.loads(path.read_text()) == {"flops": 2e11}


def test_a_cache_that_cannot_be_written_is_done_without(measured, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert [peak_flops(CPU, "fp32") for _ in range(2)] == [1e11, 2e11]
