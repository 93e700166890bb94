"""Files of prompts to continue."""

from collections.abc import Iterator
from pathlib import Path

from zoo.data.files import NotTextError, read_text
from zoo.errors import UsageError
from zoo.files.strict_json import from_json

_EXPECTED = 'expected a string, or an object with a string "prompt"'


def read_prompts(path: Path) -> list[str]:
    """The prompts of a file, in its order.

    Args:
        path: of a ``.txt`` file with a prompt a line, or of a ``.jsonl`` file with a JSON string a line, or an object
            with a field ``prompt``. Empty lines are skipped.

    Raises:
        UsageError: no file, a file of another kind, one that is not UTF-8 or has no prompts, or a line without one.
    """
    if not path.is_file():
        raise UsageError(f"{path} is {'a folder' if path.is_dir() else 'not there'}: name a file of prompts")
    if path.suffix not in {".txt", ".jsonl"}:
        raise UsageError(f"{path} should end in .txt, with a prompt a line, or in .jsonl, with a JSON string a line")
    try:
        lines = read_text(path).split("\n")
    except NotTextError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error}; save it as UTF-8") from None
    prompts = list(_of_json(path, lines) if path.suffix == ".jsonl" else _of_text(lines))
    if not prompts:
        raise UsageError(f"{path} has no prompts: write one a line")
    return prompts


def _of_text(lines: list[str]) -> Iterator[str]:
    return (prompt for line in lines if (prompt := line.removesuffix("\r")))


def _of_json(path: Path, lines: list[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = from_json(line)
        except ValueError:
            raise UsageError(f"line {number} of {path} is not JSON: {_EXPECTED}") from None
        prompt = value.get("prompt") if isinstance(value, dict) else value
        if not isinstance(prompt, str):
            raise UsageError(f"line {number} of {path} has no prompt: {_EXPECTED}")
        yield prompt
