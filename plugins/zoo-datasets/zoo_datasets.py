"""The data sets of the Hugging Face Hub as texts to learn from, by the library `datasets`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zoo

_ROWS = 1000
"""Rows that are read at a time."""

_SHOWN = 8
"""Names that an error lists."""


class HuggingFace(zoo.Corpus):
    """A text field of a data set of the Hugging Face Hub, one document a row.

    It is downloaded once, into the cache of the library `datasets`, and needs no network afterwards. A folder of data
    files, as that library reads them, can stand in the place of a name.

    Options:
        name: as the Hub has it, e.g. ``roneneldan/TinyStories``; or the path of a folder.
        config: of a data set that has several; empty for its only one.
        split: the part that is read. The zoo sets documents of it apart for validation.
        field: where the text is; rows whose field is empty are left out.
        revision: of the data set: a branch, a tag or a commit; empty for the newest.
    """

    paper = "Lhoest et al. 2021, arXiv:2109.02846"
    streaming = True

    def __init__(
        self, *, name: str, config: str = "", split: str = "train", field: str = "text", revision: str = ""
    ) -> None:
        for option, value in (("name", name), ("split", split), ("field", field)):
            if not value.strip():
                raise ValueError(f"{option}={value!r} should name something")
        self.name, self.config, self.split, self.field, self.revision = name, config, split, field, revision

    def documents(self) -> Iterator[str]:
        """The texts, in the order of the data set.

        Raises:
            UsageError: there is no such data set, part or field, or it cannot be downloaded.
        """
        import datasets

        with self._in_short(), _quiet():
            rows = datasets.load_dataset(self._path, self.config or None, split=self.split, revision=self._revision)
        if self.field not in rows.column_names:
            raise zoo.UsageError(
                f"{self.name} has no field {self.field!r}, but {_listed(rows.column_names)}: name the one with the "
                "text by the option field"
            )
        for batch in rows.select_columns([self.field]).iter(_ROWS):
            for text in batch[self.field]:
                if text is not None and not isinstance(text, str):
                    raise zoo.UsageError(f"the field {self.field!r} of {self.name} holds no text: choose another")
                yield text or ""

    def fingerprint(self) -> str:
        """The version of the data set: of the Hub its commit, of a folder the state of its files.

        Raises:
            UsageError: as `documents`.
        """
        import datasets

        with self._in_short(), _quiet():
            builder = datasets.load_dataset_builder(self._path, self.config or None, revision=self._revision)
        return str(builder.hash)

    @property
    def _path(self) -> str:
        path = Path(self.name).expanduser()
        return str(path) if path.is_dir() else self.name

    @property
    def _revision(self) -> str | None:
        return self.revision or None

    @contextmanager
    def _in_short(self) -> Iterator[None]:
        """What is wrong in one line, with what to do."""
        from datasets.exceptions import DatasetNotFoundError, DatasetsError

        try:
            yield
        except DatasetNotFoundError:
            raise zoo.UsageError(
                f"the Hub has no data set {self.name!r} that can be read from here, and there is no such folder: look "
                "at its name, log in if it is private, or go online"
            ) from None
        except (ConnectionError, TimeoutError) as error:
            raise zoo.UsageError(
                f"{self.name} is not in the cache, and the Hub cannot be reached ({_first_line(error)}): read it once "
                "while online, or name a folder of its files"
            ) from None
        except (DatasetsError, OSError, ValueError) as error:  # an unknown part or configuration is a ValueError
            raise zoo.UsageError(f"{self.name} cannot be read: {_first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars of the library, which would run into the one of the zoo."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before: Any = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


@zoo.hookimpl
def zoo_corpora() -> dict[str, type[zoo.Corpus]]:
    """The corpus by its name, for ``hf:NAME``, too."""
    return {"hf": HuggingFace}
