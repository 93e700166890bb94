"""Hands the built-in tokenizers over to the zoo."""

from zoo.plugin.hookspecs import hookimpl
from zoo.tokenizer import Tokenizer
from zoo.tokenizers.bpe import BpeTokenizer
from zoo.tokenizers.byte import ByteTokenizer
from zoo.tokenizers.char import CharTokenizer
from zoo.tokenizers.pretrained import PretrainedTokenizer


@hookimpl
def zoo_tokenizers() -> dict[str, type[Tokenizer]]:
    """The built-in tokenizers, by name."""
    return {"byte": ByteTokenizer, "char": CharTokenizer, "bpe": BpeTokenizer, "pretrained": PretrainedTokenizer}
