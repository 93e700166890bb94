"""Where an inspection takes its data from."""

from collections.abc import Iterator

from torch import Tensor

from zoo.data.batches import evaluation_windows
from zoo.data.dataset import prepare
from zoo.errors import UsageError
from zoo.run import Run
from zoo.train.run_directory import RunDirectory


def held_out(run: Run, tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Data that the run was not trained on, as it was given to it.

    Args:
        run: the run.
        tokens: about how many.

    Yields:
        Inputs and targets, ``(b, t)`` each, int64; the target of a position that is not scored is -100.

    Raises:
        UsageError: the data cannot be had, or are not those of the run.
    """
    settings = run.settings
    dataset = prepare(settings.data, settings.tokenizer, validation_fraction=settings.validation_fraction)
    if dataset.sha256 != RunDirectory.open(run.path).environment.get("data_sha256"):
        raise UsageError(f"the data {settings.data!r} has changed since the run began: an inspection needs the same")
    return evaluation_windows(dataset.validation, context=run.model.context, batch=settings.batch, limit=tokens)
