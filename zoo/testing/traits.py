"""What a mixer is like, as measured: whether it is causal, and how state and time grow with the text."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from zoo.contract import State, TokenMixer
from zoo.testing.running import evaluating, one_thread, other_reads, write
from zoo.testing.violation import first_difference

LENGTHS = (512, 2048)
"""Between these the growth is measured, if the mixer takes so many tokens."""

BUDGET = 0.2
"""Seconds for one figure: the fastest of as many runs as fit is taken, and of two at least."""

ENOUGH = 100
"""Runs for one figure, of what takes no time."""

CLOCK = 1e-6
"""Seconds that the clock cannot tell from nothing."""


@dataclass(frozen=True)
class Traits:
    """Measured traits. An exponent p says that something grows as the p-th power of the number of tokens.

    Attributes:
        causal: no change of later reads changed an earlier write.
        lengths: the numbers of tokens between which the exponents were measured.
        forward_exponent: of the time that `forward` takes.
        step_exponent: of the time that one more token takes; None if it does not stream.
        state_exponent: of the numbers in the state: 0 is a state that does not grow; None if it does not stream.
    """

    causal: bool
    lengths: tuple[int, int]
    forward_exponent: float
    step_exponent: float | None
    state_exponent: float | None


@torch.no_grad()
def measure_traits(mixer: TokenMixer, dim: int) -> Traits:
    """Measure a mixer, in float32 and on one sequence."""
    running = evaluating(mixer)
    with one_thread():
        return _measure(running, dim)


def _measure(running: TokenMixer, dim: int) -> Traits:
    longest = min(running.max_length or LENGTHS[1], LENGTHS[1])
    short, long = max(1, longest // 4), longest
    reads = torch.randn(1, long, dim, generator=torch.Generator().manual_seed(0))
    forward = _exponent(
        [_seconds(lambda: write(running, reads[:, :short])), _seconds(lambda: write(running, reads))], short, long
    )
    if not running.causal:
        return Traits(_is_causal(running, reads[:, :64]), (short, long), forward, None, None)
    # the last token is stepped with what came of the others
    states = [running.step(reads[:, : time - 1])[1] for time in (short, long)]
    steps = [_seconds(partial(running.step, reads[:, -1:], state)) for state in states]
    sizes = [max(1.0, float(_numbers(state))) for state in states]
    return Traits(
        _is_causal(running, reads[:, :64]),
        (short, long),
        forward,
        _exponent(steps, short, long),
        _exponent(sizes, short, long),
    )


def _is_causal(running: TokenMixer, reads: Tensor) -> bool:
    exact, whole = evaluating(running).double(), reads.double()
    half = whole.shape[1] // 2
    changed = torch.cat([whole[:, :half], other_reads(whole[:, half:])], dim=1)
    return first_difference(write(exact, changed)[:, :half], write(exact, whole)[:, :half]) is None


def _numbers(state: State) -> int:
    return sum(leaf.numel() for leaf in tree_leaves(state) if isinstance(leaf, Tensor))


def _seconds(run: Callable[[], object]) -> float:
    """The fastest of some runs, in processor time, which other processes hardly touch."""
    start, best, runs = time.monotonic(), math.inf, 0
    while runs < 2 or (runs < ENOUGH and time.monotonic() - start < BUDGET):
        begin = time.thread_time()
        run()
        best, runs = min(best, time.thread_time() - begin), runs + 1
    return max(best, CLOCK)


def _exponent(sizes: list[float], short: int, long: int) -> float:
    return math.log(sizes[1] / sizes[0]) / math.log(long / short) if long > short else 0.0
