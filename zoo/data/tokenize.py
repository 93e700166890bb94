"""From what ``--tokenizer`` says to a tokenizer, and from a tokenizer to JSON and back."""

from collections.abc import Mapping
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
    tokenizer = _create(spec, registry)
    tokenizer.fit(train_text, whole_text)
    return tokenizer


def read_spec(spec: str, registry: Registry | None = None) -> Call:
    """Read and check what was asked for; ``str`` of the result is its canonical form.

    Raises:
        UsageError, PluginError: as in `make_tokenizer`.
    """
    _create(spec, registry)
    return parse_call(spec)


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


def _create(spec: str, registry: Registry | None) -> Tokenizer:
    call = parse_call(spec)
    tokenizer = cast(Tokenizer, create((registry or get_registry())[TOKENIZER].find(call.name), call.keywords))
    tokenizer.name = call.name
    return tokenizer
