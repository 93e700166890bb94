"""What is asked of a bench of whole models."""

from dataclasses import dataclass

from zoo.errors import UsageError
from zoo.lab.bench.request import check_common, check_distinct
from zoo.train.shell import join

KINDS = {
    "train": "a training step: forward, backward, clipping and the optimizer",
    "evaluation": "a batch of validation text: predictions, loss and accuracy",
    "prefill": "a prompt of the whole context, taken in by one `step`",
    "decode": "one more token, the most likely one, after half of the context",
}
"""What can be measured, each with what it is the cost of."""

STRETCH = 32
"""So many tokens are decoded at most after a prompt, before it is decoded from again."""


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """A bench of whole models as it was asked for.

    Attributes:
        patterns: of the candidates, as the user wrote them.
        kinds: what to measure, of `KINDS`.
        layers: the pattern is cycled until so many are filled.
        dim: the model width d.
        heads: for the mixers that set none.
        context: tokens in a sequence.
        batch: sequences side by side.
        vocab_size: how many tokens there are.
        device: ``"auto"``, ``"cpu"`` or a CUDA device.
        precision: ``"fp32"``, or ``"bf16"`` by autocast.
        compile: whether the training step runs a compiled model, as in ``zoo train``.
        threads: of the CPU; None takes every core.
        repeats: times that a cell is measured; a slow one fewer times.
        seed: of parameters and tokens.
    """

    patterns: tuple[str, ...]
    kinds: tuple[str, ...] = tuple(KINDS)
    layers: int = 4
    dim: int = 128
    heads: int = 4
    context: int = 128
    batch: int = 16
    vocab_size: int = 256
    device: str = "auto"
    precision: str = "fp32"
    compile: bool = False
    threads: int | None = None
    repeats: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        check_distinct("patterns", self.patterns)
        check_distinct("kinds", self.kinds)
        check_common(self)
        if self.layers < 1:
            raise UsageError(f"`layers`={self.layers} should be 1 or more")
        for name, size in {"context": self.context, "vocab_size": self.vocab_size}.items():
            if size < 2:
                raise UsageError(f"`{name}`={size} should be 2 or more")

    @property
    def command(self) -> str:
        """The command that asks the same."""
        words = ["zoo", "bench", "model", *self.patterns, "--what", ",".join(self.kinds)]
        names = """
            layers dim heads context batch vocab_size device precision threads repeats seed
        """
        for name in names.split():
            value = getattr(self, name)
            words += [f"--{name.replace('_', '-')}", str(value)] if value is not None else []
        return join([*words, "--compile"] if self.compile else words)

    @property
    def prompt(self) -> int:
        """Tokens after which decoding starts."""
        return self.context // 2

    def length(self, kind: str) -> int:
        """Tokens of a sequence that a call of that kind takes in, or that come before it."""
        return self.prompt if kind == "decode" else self.context
