"""What is asked of a bench."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zoo.errors import UsageError
from zoo.plugin.options import did_you_mean
from zoo.train.shell import join

KINDS = {
    "forward": "a forward pass without gradients",
    "train": "a forward pass, and the backward pass to parameters and reads",
    "prefill": "a prompt of so many tokens, taken in by one `step`",
    "decode": "one more token after so many",
    "memory": "the peak of a training step, above what was there before",
}
"""What can be measured, each with what it is the cost of."""

LENGTHS = (256, 512, 1024, 2048, 4096, 8192)


@dataclass(frozen=True, kw_only=True)
class Request:
    """A bench as it was asked for.

    Attributes:
        patterns: of the candidates, as the user wrote them.
        lengths: tokens in a sequence, ascending.
        kinds: what to measure, of `KINDS`.
        dim: the model width d.
        heads: for the mixers that set none, and for plain attention.
        residual: the residual scheme, of plain attention too.
        batch: sequences side by side.
        device: ``"auto"``, ``"cpu"`` or a CUDA device.
        precision: ``"fp32"``, or ``"bf16"`` by autocast.
        threads: of the CPU; None takes every core.
        repeats: times that a cell is measured; a slow one fewer times.
        seed: of parameters and reads.
    """

    patterns: tuple[str, ...]
    lengths: tuple[int, ...] = LENGTHS
    kinds: tuple[str, ...] = tuple(KINDS)
    dim: int = 128
    heads: int = 4
    residual: str = "pre-norm"
    batch: int = 1
    device: str = "auto"
    precision: str = "fp32"
    threads: int | None = None
    repeats: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        check_distinct("patterns", self.patterns)
        check_distinct("lengths", self.lengths)
        check_distinct("kinds", self.kinds)
        check_common(self)

    @property
    def command(self) -> str:
        """The command that asks the same."""
        words = ["zoo", "bench", *self.patterns, "--lengths", ",".join(map(str, self.lengths))]
        words += ["--what", ",".join(self.kinds)]
        for name in ("dim", "heads", "residual", "batch", "device", "precision", "threads", "repeats", "seed"):
            value = getattr(self, name)
            words += [f"--{name}", str(value)] if value is not None else []
        return join(words)


def check_common(request: Any) -> None:
    """Refuse what no bench can be asked for: sizes, a seed, a precision or a device.

    Raises:
        UsageError: with what would do.
    """
    sizes = {"dim": request.dim, "heads": request.heads, "batch": request.batch, "repeats": request.repeats}
    sizes |= {"threads": request.threads} if request.threads is not None else {}
    for name, size in sizes.items():
        if size < 1:
            raise UsageError(f"`{name}`={size} should be 1 or more")
    if request.dim % request.heads:
        raise UsageError(f"`dim`={request.dim} cannot be shared out among `heads`={request.heads}: choose a multiple")
    if not 0 <= request.seed < 2**31:
        raise UsageError(f"`seed`={request.seed} should be from 0 to 2147483647")
    if request.precision not in ("fp32", "bf16"):
        raise UsageError(f"`precision`={request.precision} should be fp32 or bf16")
    if request.device != "auto" and request.device.partition(":")[0] not in ("cpu", "cuda"):
        raise UsageError(f"`device`={request.device} should be auto, cpu or cuda")


def read_lengths(text: str) -> tuple[int, ...]:
    """Lengths from a list with commas, in ascending order.

    Raises:
        UsageError: one is no whole number of 1 or more.
    """
    words = text.split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"`lengths`={text!r} should be whole numbers of tokens with commas, e.g. 256,1024,4096")
    return tuple(sorted(int(word) for word in words))


def read_kinds(text: str, known: Sequence[str] = tuple(KINDS)) -> tuple[str, ...]:
    """What to measure, from a list with commas.

    Raises:
        UsageError: one is not known.
    """
    kinds = tuple(word.strip() for word in text.split(","))
    for kind in kinds:
        if kind not in known:
            hint = did_you_mean(kind, known)
            raise UsageError(f"`kinds`={kind!r}: nothing of that name is measured{hint}; choose of {', '.join(known)}")
    return kinds


def check_distinct(name: str, values: Sequence[object]) -> None:
    """Refuse a parameter that is given nothing, or one thing twice.

    Raises:
        UsageError: with its name.
    """
    if not values:
        raise UsageError(f"`{name}`: give at least one")
    value, count = Counter(values).most_common(1)[0]
    if count > 1:
        raise UsageError(f"`{name}`: {value} is given {count} times; once is enough")
