"""The most memory that something holds at once."""

import os
from collections.abc import Callable
from itertools import accumulate

import torch
from torch.autograd.profiler import profile


def peak_bytes(call: Callable[[], object], device: torch.device) -> int:
    """The most bytes of tensors that a call holds at once, above what was there before it.

    What kernels ask of torch's allocator while they run is counted, what a library takes from the system for itself
    is not.

    Args:
        call: is run once; what it builds at its first time, e.g. a table that it keeps, counts too. It frees nothing
            that was there before.
        device: whose memory is meant.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would speak on stderr
    with profile(use_cpu=True, profile_memory=True) as events:
        call()
    found = [event for event in events.kineto_results.events() if event.name() == "[memory]"]
    found.sort(key=lambda event: event.start_ns())
    return max(accumulate((event.nbytes() for event in found), initial=0))
