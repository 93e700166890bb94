"""Where an inspection takes its data from."""

from collections.abc import Iterator

from zoo.data.source import Batch
from zoo.run import Run
from zoo.train.find_data import find_run_source
from zoo.train.plugins import with_recorded_origins
from zoo.train.run_directory import RunDirectory


def validation_batches(run: Run, tokens: int, data: str | None = None) -> Iterator[Batch]:
    """Data that the run was not trained on: of its text, or of its task at the training length.

    Args:
        run: the run.
        tokens: about how many.
        data: where the text lies now; None looks where it was typed and where it lay when the run began.

    Raises:
        UsageError: the data is not available, or is not those of the run.
    """
    settings, directory = run.settings, RunDirectory.open(run.path)
    source, _ = find_run_source(directory, settings, with_recorded_origins(directory.environment), given=data)
    return source.validation_batches(context=settings.context, batch=settings.batch, limit=tokens)
