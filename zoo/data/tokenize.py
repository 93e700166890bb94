"""From what ``--tokenizer`` says to a tokenizer, and from a tokenizer to JSON and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from zoo.errors import UsageError
from zoo.model.create import create
from zoo.plugin.kinds import TOKENIZER
from zoo.plugin.pattern import Call, parse_call
from zoo.plugin.registry import Registry, get_registry
from zoo.tokenizer import Tokenizer


def make_tokenizer(spec: str, train_text: str, whole_text: str, registry: Registry | None = None) -> Tokenizer:
    """Make the tokenizer for a corpus.

    Args:
        spec: a name, with options in brackets if any: ``bpe(vocab_size=8192)``.
        train_text, whole_text: see `zoo.tokenizer.Tokenizer.fit`.
        registry: where to look; the installed plugins by default.

    Raises:
        UsageError: an unknown name or option, a value out of range, or a library that is not installed.
        PluginError: the tokenizer's plugin is broken or missing, or the tokenizer itself fails.
    """
    tokenizer = create_tokenizer(spec, registry)
    tokenizer.fit(train_text, whole_text)
    return tokenizer


def read_spec(spec: str, registry: Registry | None = None) -> Call:
    """Read and check what was asked for; ``str`` of the result is its canonical form.

    Raises:
        UsageError, PluginError: as in `make_tokenizer`.
    """
    create_tokenizer(spec, registry)
    return tokenizer_call(spec)


def tokenizer_call(spec: str) -> Call:
    """The tokenizer that was asked for; the path of a ``tokenizer.json``, or of a folder that has one, is `pretrained`.

    Raises:
        PatternError: text that cannot be read.
    """
    if is_path(spec):
        return Call("pretrained", (("path", str(Path(spec.strip()).expanduser().absolute())),))
    return parse_call(spec)


def is_path(spec: str) -> bool:
    """Whether a tokenizer is named by a path rather than by its name and options."""
    text = spec.strip()
    return "(" not in text and (bool(set(text) & set("/\\~")) or text.startswith(".") or text.endswith(".json"))


def read_from_file(spec: str, registry: Registry | None = None) -> Tokenizer | None:
    """The tokenizer, if its vocabulary comes from a file and not from the texts; None for any other one.

    Raises:
        UsageError, PluginError: as in `make_tokenizer`.
    """
    tokenizer = create_tokenizer(spec, registry)
    if not tokenizer.from_file:
        return None
    tokenizer.fit("", "")
    return tokenizer


def tokenizer_as_json(tokenizer: Tokenizer) -> dict[str, Any]:
    """What it takes to make a tokenizer again: its name, and what it has learned."""
    return {**tokenizer.to_json(), "name": tokenizer.name}


def tokenizer_from_json(saved: Mapping[str, Any], registry: Registry | None = None) -> Tokenizer:
    """The tokenizer of which `tokenizer_as_json` gave this.

    Raises:
        UsageError: a name that is not registered here, a library that is not installed, or damage.
        PluginError: the tokenizer's plugin is broken or missing.
    """
    name = saved.get("name")
    if not isinstance(name, str):
        raise UsageError("the saved tokenizer has no name: put back a good copy")
    entry = (registry or get_registry())[TOKENIZER].find(name)
    try:
        tokenizer = cast(Tokenizer, entry.cls.from_json(saved))
    except UsageError:
        raise
    except Exception as error:  # the library of `bpe` raises nothing more exact
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"the saved tokenizer {name!r} is damaged ({cause}): put back a good copy") from None
    tokenizer.name = name
    return tokenizer


def create_tokenizer(spec: str, registry: Registry | None = None) -> Tokenizer:
    """A tokenizer that has learned nothing yet.

    Raises:
        UsageError, PluginError: as in `make_tokenizer`.
    """
    call = tokenizer_call(spec)
    tokenizer = cast(Tokenizer, create((registry or get_registry())[TOKENIZER].find(call.name), call.keywords))
    tokenizer.name = call.name
    return tokenizer
