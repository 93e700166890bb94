"""The data of a run, and finding them again for a saved run or comparison, also from another folder."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from zoo.data.dataset import prepare
from zoo.data.documents import Documents
from zoo.data.load import create_task, load_source, task_call
from zoo.data.open import Reading, absolute, is_place, open_streamed
from zoo.data.source import Source
from zoo.data.text import Text, corpus_call, load_text
from zoo.data.tokenize import tokenizer_from_json
from zoo.errors import UsageError
from zoo.plugin.kinds import TASK, TOKENIZER
from zoo.plugin.pattern import Call
from zoo.plugin.registry import Registry, get_registry
from zoo.tokenizer import Tokenizer
from zoo.train.run_directory import RunDirectory
from zoo.train.settings import Settings

FROM = "from"
"""In env.json of a run that started from the weights of another one: which, and its step."""

Owner: TypeAlias = Literal["run", "comparison"]


def source_of(settings: Settings, registry: Registry | None = None, *, fitted: Tokenizer | None = None) -> Source:
    """The text or the task that the settings name, which the context must fit.

    Args:
        settings: of the run.
        registry: where to look for tasks; the installed plugins by default.
        fitted: the tokenizer, where a text is to be encoded with a vocabulary that another one has.

    Raises:
        UsageError: data that is not available, or too short for the context.
    """
    source = load_source(
        settings.data,
        tokenizer=settings.tokenizer,
        validation_fraction=settings.validation_fraction,
        documents=settings.documents,
        text_field=settings.text_field,
        threads=settings.threads,
        objective=settings.objective,
        fitted=fitted,
        registry=registry,
    )
    source.check_context(settings.context)
    if settings.lengths is not None:
        check_lengths(settings, settings.lengths.lengths, registry)
    return source


def check_lengths(settings: Settings, lengths: Sequence[int], registry: Registry | None = None) -> None:
    """Refuse a curriculum that goes beyond the context, or to lengths at which a task has no sequences.

    Raises:
        UsageError: with what would do.
    """
    call = task_call(settings.data, registry)
    if lengths[-1] > settings.context:
        longer = "`context`" if call is None else "the option length of the task"
        raise UsageError(
            f"`curriculum`={settings.curriculum!r} goes to {lengths[-1]} tokens, and the longest sequence has "
            f"{settings.context}: end it there, or make them longer with {longer}"
        )
    if call is None:
        return
    task = create_task(call, registry)
    if task.train_examples is not None:
        raise UsageError(
            f"`curriculum` wants sequences of many lengths, and {call} trains on {task.train_examples:,} that were "
            "drawn before, of one length: set its option examples=none"
        )
    options = {option.name for option in (registry or get_registry())[TASK].find(call.name).options}
    if "test_lengths" not in options:
        raise UsageError(f"`curriculum` wants a task that says which lengths it takes: {call.name} has no test_lengths")
    try:
        create_task(Call(call.name, tuple({**call.keywords, "test_lengths": tuple(lengths)}.items())), registry)
    except UsageError as error:
        raise UsageError(
            f"`curriculum`={settings.curriculum!r} has lengths that the task refuses: {error}. Begin with longer "
            "sequences, or let lengths grow by more with ' by N'"
        ) from None


def text_path(data: str, registry: Registry | None = None) -> str | None:
    """The absolute path of a text of the user's own; None for a built-in text or a task."""
    if _is_registered(data, registry):
        return None
    return absolute(data, registry)


def _is_registered(data: str, registry: Registry | None) -> bool:
    return corpus_call(data, registry) is not None or task_call(data, registry) is not None


def find_source(
    settings: Settings,
    *,
    sha256: str,
    recorded: str | None = None,
    given: str | None = None,
    owner: Owner = "run",
    fitted: Tokenizer | None = None,
    registry: Registry | None = None,
) -> tuple[Source, str | None]:
    """The data of a run or a comparison. A text is looked for where it was typed, and where it lay then.

    Args:
        settings: of the run or comparison.
        sha256: of its data.
        recorded: the absolute path of its text; None for other data, and where an earlier version did not record it.
        given: where the text lies now: nowhere else is looked.
        owner: which of the two it is.
        fitted: its tokenizer, where the vocabulary came from a file that may not be there any more.
        registry: where to look for tasks; the installed plugins by default.

    Returns:
        The data, and the absolute path of the text if it is the user's own.

    Raises:
        UsageError: the data is not there, or not the same.
        PluginError: the task's plugin is broken or missing.
    """
    if recorded is None and task_call(settings.data, registry) is not None:
        return _task(settings, sha256, given, owner, registry), None
    candidates = [given] if given is not None else [settings.data, recorded or settings.data]
    places = dict.fromkeys(_place(candidate) for candidate in candidates)
    for place in places:
        named = given is not None or corpus_call(place, registry) is not None
        text = _same_data(place, sha256, settings, named=named, fitted=fitted, registry=registry)
        if text is not None:
            source = settings.text_objective.source(text)
            source.check_context(settings.context)
            return source, None if corpus_call(place, registry) is not None else place
    if given is not None:
        raise UsageError(f"{given} is not the text with which the {owner} began: its checksum differs")
    raise _not_found(settings, places, owner)


def find_run_source(
    run: RunDirectory, settings: Settings, registry: Registry, *, given: str | None = None
) -> tuple[Source, str | None]:
    """The data of a run, see `find_source`.

    Raises:
        UsageError: as there, or the run was saved without its data, or records something else in their place.
    """
    if not settings.data:
        raise UsageError(f"{run.path} was saved without its data: zoo.save_run(…, data=zoo.load_data(…)) names them")
    environment = run.environment
    checksum, recorded = environment.get("data_sha256", ""), environment.get("data_path")
    if not isinstance(checksum, str) or not isinstance(recorded, str | None):
        raise UsageError(f"{run.path / 'env.json'} is damaged (it records no data): put back a good copy")
    fitted = tokenizer_from_json(run.tokenizer, registry) if _has_a_given_vocabulary(run, settings, registry) else None
    return find_source(settings, sha256=checksum, recorded=recorded, given=given, fitted=fitted, registry=registry)


def _has_a_given_vocabulary(run: RunDirectory, settings: Settings, registry: Registry) -> bool:
    """Whether the run has a copy of a vocabulary that it did not learn from its text."""
    if not run.learned_text:
        return False
    started_from_another = isinstance(run.environment.get(FROM), dict)
    return started_from_another or registry[TOKENIZER].find(settings.tokenizer_call.name).cls.from_file


def _place(data: str) -> str:
    return absolute(data)


def _same_data(
    place: str, sha256: str, settings: Settings, *, named: bool, fitted: Tokenizer | None, registry: Registry | None
) -> Source | None:
    """The text that is there, if it is the one."""
    if not named and not is_place(place):
        return None
    reading = Reading(
        settings.tokenizer,
        settings.validation_fraction,
        settings.documents,
        settings.text_field,
        settings.threads,
        fitted=fitted,
    )
    try:
        streamed = open_streamed(place, reading, registry)
    except UsageError:
        if named:
            raise
        return None
    if streamed is not None and streamed.sha256 == sha256:
        return streamed
    is_corpus = corpus_call(place, registry) is not None
    if streamed is not None and (is_corpus or not Path(place).exists()):
        return None
    # earlier versions read every file as plain text, whatever its form and size
    text = _same_text(place, sha256, named=named and streamed is None, documents=settings.documents)
    if text is None:
        return None
    return prepare(text, tokenizer=settings.tokenizer, validation_fraction=settings.validation_fraction, fitted=fitted)


def _same_text(place: str, sha256: str, *, named: bool, documents: Documents) -> Text | None:
    """The text that lies there, if it is the one. What cannot be read is an error only if the user named it."""
    if not named and not Path(place).exists():
        return None
    try:
        # earlier versions took a byte-order mark for a part of the text
        texts = (load_text(place, keep_marks=keep, documents=documents) for keep in (False, True))
        return next((text for text in texts if text.sha256 == sha256), None)
    except UsageError:
        if named:
            raise
        return None


def _task(settings: Settings, sha256: str, given: str | None, owner: Owner, registry: Registry | None) -> Source:
    if given is not None:
        raise UsageError(f"the {owner} learns the task {settings.data} and reads no text: leave out `data`")
    source = source_of(settings, registry)
    if source.sha256 != sha256:
        raise _changed(settings.data, owner)
    return source


def _not_found(settings: Settings, places: Iterable[str], owner: Owner) -> UsageError:
    there = [place for place in places if corpus_call(place) is not None or is_place(place)]
    hint = "name the same text with `data`=PATH" if owner == "run" else "put it back"
    if there:
        where = "" if there == [settings.data] else f" (looked at {' and '.join(there)})"
        return UsageError(f"{_changed(settings.data, owner)}{where}; {hint}")
    where = "" if list(places) == [settings.data] else f", looked for {' and '.join(places)}"
    return UsageError(f"the data {settings.data!r} of the {owner} is not there{where}: {hint}")


def _changed(data: str, owner: Owner) -> UsageError:
    return UsageError(f"the data {data!r} has changed since the {owner} began, which needs the same")
