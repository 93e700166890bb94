"""What a training run reports while it runs; the command line draws it, a test or a library stays silent."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a step.

    Attributes:
        step: updates done so far.
        steps: updates that the run is to make.
        loss: of this step, nats per token.
        tokens_per_second: over the last steps, without evaluations.
        seconds_left: at that speed.
    """

    step: int
    steps: int
    loss: float
    tokens_per_second: float
    seconds_left: float


class Listener:
    """Silent; a subclass shows what it likes."""

    def notice(self, text: str) -> None:
        """Something that the user should know, e.g. that a checkpoint was damaged."""

    def progress(self, progress: Progress) -> None:
        """After each step."""

    def evaluation(self, step: int, validation_loss: float, validation_accuracy: float, sample: str) -> None:
        """After each evaluation, with the sample that was written then."""
