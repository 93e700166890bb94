"""Where an inspection takes its data from."""

from collections.abc import Iterator

from zoo.data.source import Batch
from zoo.errors import UsageError
from zoo.run import Run
from zoo.train.run_directory import RunDirectory
from zoo.train.session import remembering, source_of


def held_out(run: Run, tokens: int) -> Iterator[Batch]:
    """Data that the run was not trained on: of its text, or of its task at the training length.

    Args:
        run: the run.
        tokens: about how many.

    Raises:
        UsageError: the data cannot be had, or are not those of the run.
    """
    settings, environment = run.settings, RunDirectory.open(run.path).environment
    source = source_of(settings, remembering(environment))
    if source.sha256 != environment.get("data_sha256"):
        raise UsageError(f"the data {settings.data!r} has changed since the run began: an inspection needs the same")
    return source.held_out(context=settings.context, batch=settings.batch, limit=tokens)
