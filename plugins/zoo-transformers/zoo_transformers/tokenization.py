"""Tokenizers of the zoo as those of transformers."""

import json
from typing import Any

from tokenizers import Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Model
from transformers import PreTrainedTokenizerFast
from zoo_transformers_plugin.tokenizers import CheckpointTokenizer, TokenIds

from zoo.data.documents import SEPARATOR
from zoo.errors import UsageError
from zoo.tokenizer import Tokenizer
from zoo.tokenizers.bpe import BpeTokenizer, byte_of_letter
from zoo.tokenizers.byte import ByteTokenizer
from zoo.tokenizers.char import CharTokenizer
from zoo.tokenizers.pretrained import PretrainedTokenizer


def fast_tokenizer(tokenizer: Tokenizer) -> PreTrainedTokenizerFast | None:
    """The tokenizer that cuts every text in the same way; None where a model has only token numbers.

    It has no special tokens and adds none: every token of a vocabulary of the zoo stands for text.

    Raises:
        UsageError: a tokenizer of a plugin, which transformers has no form of.
    """
    if isinstance(tokenizer, TokenIds):
        return None
    if isinstance(tokenizer, ByteTokenizer):
        model = _of_bytes()
    elif isinstance(tokenizer, CharTokenizer):
        model = _of_characters(tokenizer.characters)
    elif isinstance(tokenizer, BpeTokenizer):
        model = _of_merges(tokenizer.to_json()["model"])
    elif isinstance(tokenizer, CheckpointTokenizer | PretrainedTokenizer):  # which are in the library's own form
        model = Model.from_str(json.dumps(tokenizer.to_json()["model"]))
        model.post_processor = None  # as the zoo encodes: no token is put before a text
    else:
        raise UsageError(
            f"the tokenizer {tokenizer.name!r} has no form that transformers reads: train with byte, char or bpe"
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=model,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def _of_bytes() -> Model:
    model = Model(models.BPE(vocab=byte_of_letter(), merges=[]))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    model.decoder = decoders.ByteLevel()
    return model


def _of_characters(characters: str) -> Model:
    # Without a token for what is unknown, so that a character outside of the vocabulary is an error here too.
    model = Model(models.WordLevel({character: token for token, character in enumerate(characters)}))
    model.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    model.decoder = decoders.Fuse()
    return model


def _of_merges(saved: dict[str, Any]) -> Model:
    model = Model.from_str(json.dumps(saved))
    # The zoo cuts at the separator of documents before it looks for words, so that it stays a token of its own.
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(SEPARATOR, "isolated"), words])
    return model
