"""Tokenizers by name: ``byte``, ``char`` and ``bpe(vocab_size=4096)``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from zoo.data.tokenizers.base import Decoder, Tokenizer
from zoo.data.tokenizers.bpe import BpeTokenizer, check_vocab_size
from zoo.data.tokenizers.byte import ByteTokenizer
from zoo.data.tokenizers.char import CharTokenizer
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.plugin.pattern import Call

__all__ = ["TOKENIZERS", "Decoder", "Tokenizer", "make_tokenizer", "read_spec", "tokenizer_from_json"]

TOKENIZERS: dict[str, type[Tokenizer]] = {cls.name: cls for cls in (ByteTokenizer, CharTokenizer, BpeTokenizer)}
"""The tokenizers by name."""

_OPTIONS = {"bpe": ("vocab_size",)}


def make_tokenizer(spec: str, train_text: str, whole_text: str) -> Tokenizer:
    """Make the tokenizer for a corpus.

    Args:
        spec: ``byte``, ``char`` or ``bpe``, with options in brackets: ``bpe(vocab_size=8192)``.
        train_text: from which merges are learned.
        whole_text: of which a vocabulary of characters is made, so that the validation split can be written.

    Raises:
        UsageError: an unknown name or option, a value out of range, or a library that is not installed.
    """
    call = read_spec(spec)
    if call.name == "char":
        return CharTokenizer.of(whole_text)
    if call.name == "bpe":
        return BpeTokenizer.train(train_text, **cast(dict[str, int], call.keywords))
    return ByteTokenizer()


def read_spec(spec: str) -> "Call":
    """Read and check what was asked for; ``str`` of the result is its canonical form.

    Raises:
        UsageError: as in `make_tokenizer`.
    """
    from zoo.plugin.options import did_you_mean
    from zoo.plugin.pattern import parse_call

    call = parse_call(spec)
    if call.name not in TOKENIZERS:
        hint = did_you_mean(call.name, TOKENIZERS)
        raise UsageError(f"there is no tokenizer {call.name!r}{hint}: expected {' or '.join(TOKENIZERS)}")
    known = _OPTIONS.get(call.name, ())
    for option in call.keywords:
        if option not in known:
            has = f"its options: {', '.join(known)}" if known else "it has no options"
            hint = did_you_mean(option, known)
            raise UsageError(f"the tokenizer {call.name!r} has no option {option!r}{hint}; {has}")
    if "vocab_size" in call.keywords:
        check_vocab_size(call.keywords["vocab_size"])
    return call


def tokenizer_from_json(saved: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer whose `to_json` gave this.

    Raises:
        UsageError: a name that this version does not know, a library that is not installed, or damage.
    """
    name = saved.get("name")
    if name not in TOKENIZERS:
        raise UsageError(f"the saved tokenizer {name!r} is unknown here: expected {' or '.join(TOKENIZERS)}")
    try:
        return TOKENIZERS[name].from_json(saved)
    except UsageError:
        raise
    except Exception as error:  # the library of `bpe` raises nothing more exact
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"the saved tokenizer {name!r} is damaged ({cause}): put back a good copy") from None
