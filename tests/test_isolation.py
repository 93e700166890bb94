"""What the code of a module does to the process is undone, and named."""

import os
import random
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo.plugin.isolation import isolated, random_numbers_kept, seed_torch


def draws():
    return random.random(), np.random.rand(), torch.rand(1).item()


CHANGES = {
    "seeds": (lambda: torch.manual_seed(1234), ["random numbers of torch"]),
    "draws": (lambda: torch.randn(3), ["random numbers of torch"]),
    "draws from Python": (random.random, ["random numbers of Python"]),
    "seeds NumPy": (lambda: np.random.seed(0), ["random numbers of NumPy"]),
    "dtype": (lambda: torch.set_default_dtype(torch.float64), ["default dtype (torch.float32 to torch.float64)"]),
    "device": (lambda: torch.set_default_device("meta"), ["default device (cpu to meta)"]),
    "a device that is not there": (lambda: torch.set_default_device("xpu"), ["default device (cpu to unknown)"]),
    "gradients": (lambda: torch.set_grad_enabled(False), ["gradient mode (True to False)"]),
    "determinism": (lambda: torch.use_deterministic_algorithms(True), ["deterministic algorithms (off to on)"]),
    "determinism, warned": (
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        ["deterministic algorithms (off to warnings only)"],
    ),
    "precision": (lambda: torch.set_float32_matmul_precision("medium"), ["float32 precision"]),
    "attention": (lambda: torch.backends.cuda.enable_flash_sdp(False), ["attention backends"]),
    "anomalies": (lambda: torch.autograd.set_detect_anomaly(True), ["anomaly detection (False to True)"]),
    "autocast": (lambda: torch.set_autocast_enabled("cpu", True), ["autocast on cpu (False to True)"]),
    "threads": (lambda: torch.set_num_threads(2), ["number of threads (1 to 2)"]),
    "denormals": (lambda: torch.set_flush_denormal(True), ["flush denormals (False to True)"]),
    "cudnn": (
        lambda: setattr(torch.backends.cudnn, "benchmark", True),
        ["torch.backends.cudnn.benchmark (False to True)"],
    ),
    "NumPy errors": (lambda: np.seterr(all="raise"), ["NumPy error handling"]),
}


def raise_after(change, error):
    change()
    raise error


def state():
    return [
        torch.get_default_dtype(), str(torch.get_default_device()), torch.is_grad_enabled(), torch.get_num_threads(),
        torch.is_inference_mode_enabled(), torch.are_deterministic_algorithms_enabled(), torch.is_anomaly_enabled(),
        torch.get_float32_matmul_precision(), torch.is_autocast_enabled("cpu"), torch.backends.cudnn.benchmark,
        torch.backends.cuda.flash_sdp_enabled(), sys.float_info.min / 2, np.geterr(),
        random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), Path.cwd(),
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("change", "names"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_undone_and_named(change, names):
    before = state()
    with isolated() as changes:
        change()
    assert state() == before
    assert changes == names


def test_the_newer_interface_to_float32_precision_is_undone_too():
    if not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("this torch has the older one only")
    before = torch.backends.cuda.matmul.fp32_precision
    with isolated() as changes:
        torch.backends.fp32_precision = "tf32"  # with it the older one raises when it is asked
    assert changes == ["float32 precision"]
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.backends.cuda.matmul.fp32_precision == before


def test_the_working_directory_is_undone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with isolated() as changes:
        os.chdir("/")
    assert Path.cwd() == tmp_path
    assert changes == [f"working directory ({tmp_path} to /)"]


def test_nothing_changed_is_nothing_named():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with isolated() as changes:
            torch.zeros(3)
    assert changes == []


def test_an_error_is_not_kept_from_the_caller_and_changes_are_undone():
    before = state()
    with pytest.raises(GeneratorExit), isolated():
        raise_after(lambda: torch.set_default_dtype(torch.float64), GeneratorExit())
    assert state() == before


@pytest.mark.parametrize("caller", [lambda: torch.device("meta"), torch.no_grad, torch.inference_mode])
def test_a_module_does_not_find_what_its_caller_is_doing(caller):
    """A table that a module makes when it is imported is used long after the call that happened to need it first."""
    with caller():
        before = state()
        with isolated() as changes:
            table = torch.zeros(3)
            parameter = table.clone().requires_grad_()
            assert (2 * parameter).requires_grad
        assert state() == before
    assert changes == []
    assert table.device.type == "cpu"
    assert not table.is_inference()


def test_the_default_device_of_the_caller_comes_back():
    torch.set_default_device("meta")
    try:
        with isolated() as changes:
            assert torch.zeros(1).device.type == "cpu"
            torch.set_default_device("xpu")
        assert torch.zeros(1).device.type == "meta"
    finally:
        torch.set_default_device(None)
    assert len(changes) == 1


def test_random_numbers_are_kept_though_the_block_seeds_and_draws():
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    expected = draws()
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    with random_numbers_kept():
        torch.manual_seed(0)
        draws()
    assert draws() == expected


def test_the_random_numbers_of_a_gpu_that_is_in_use_are_undone_too(monkeypatch):
    states = [torch.arange(3, dtype=torch.uint8), torch.ones(3, dtype=torch.uint8)]
    before = [state.clone() for state in states]

    def set_all(new):
        states[:] = new

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", set_all)
    with isolated() as changes:
        states[1] = torch.zeros(3, dtype=torch.uint8)
    assert changes == ["random numbers of CUDA"]
    assert all(map(torch.equal, states, before))


# What is printed


def test_what_is_printed_within_goes_to_stderr(capfd):
    print("before")
    with isolated():
        print("from Python")
        os.write(1, b"from native code\n")
        os.system("echo from a child")
    print("after")
    captured = capfd.readouterr()
    assert captured.out == "before\nafter\n"
    for text in ("from Python", "from native code", "from a child"):
        assert text in captured.err


def test_a_closed_stdout_does_not_matter(monkeypatch, capfd):
    import zoo.plugin.stdout

    monkeypatch.setattr(zoo.plugin.stdout, "_STDOUT", 999)
    with isolated():
        print("from Python")
    assert capfd.readouterr() == ("", "from Python\n")


@pytest.mark.skipif(torch.accelerator.is_available(), reason="torch seeds the accelerator")
def test_a_seed_gives_the_numbers_of_torch_and_formats_no_stack(monkeypatch):
    torch.manual_seed(5)
    expected = torch.rand(3)
    monkeypatch.delattr("traceback.format_stack")
    seed_torch(5)
    assert torch.equal(torch.rand(3), expected)
