import pytest
import torch

from zoo.lab.bench.measure import peak_bytes
from zoo.lab.bench.request import Request
from zoo.lab.bench.session import make_ready, run_bench

CPU = torch.device("cpu")
MIB = 2**20


def block(mebibytes):
    return torch.empty(mebibytes * MIB, dtype=torch.uint8)


def test_the_peak_of_a_program_counted_by_hand():
    def program():
        first, second = block(4), block(8)
        del first
        third = block(2)
        del second
        block(1)
        del third

    assert peak_bytes(program, CPU) == 12 * MIB


def test_what_was_there_before_does_not_count():
    kept = block(16)
    assert peak_bytes(lambda: block(2).copy_(kept[: 2 * MIB]), CPU) == 2 * MIB


def test_a_temporary_within_a_kernel_counts():
    rows = torch.randn(MIB)  # logsumexp holds the exponentials of all of them, and returns one number
    peak = peak_bytes(lambda: torch.logsumexp(rows, 0), CPU)
    assert 4 * MIB <= peak < 4 * MIB + 1024


def test_a_training_step_of_a_product_counted_by_hand():
    reads, weight = torch.randn(64, 256, requires_grad=True), torch.randn(256, 512, requires_grad=True)
    gradient = torch.randn(64, 512)

    def step():
        (reads @ weight).backward(gradient)
        reads.grad = weight.grad = None

    # The product is alive until the backward pass has ended, beside the gradients of both factors.
    assert peak_bytes(step, CPU) == 4 * (64 * 512 + 64 * 256 + 256 * 512)


def test_nothing_is_said_on_stderr(capfd):
    peak_bytes(lambda: block(1), CPU)
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_the_memory_of_involution_grows_as_the_length():
    request = Request(patterns=("involution",), lengths=(256, 512, 1024), kinds=("memory",), dim=32, device="cpu")
    growth = run_bench(make_ready(request)).growth("memory", "involution")
    assert growth.exponent == pytest.approx(1, abs=0.1)
    assert growth.upper == pytest.approx(1, abs=0.05)
