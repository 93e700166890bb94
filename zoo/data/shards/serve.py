"""A process that encodes blocks, asked over its stdin and stdout."""

import os
import pickle
import sys
from typing import Any, BinaryIO

from zoo.data.shards.worker import EncodedBlock, encode_block
from zoo.errors import ZooError
from zoo.tokenizer import Tokenizer


def as_sent(tokenizer: Tokenizer, saved: dict[str, Any]) -> bytes:
    """A tokenizer as another process can make it: pickled by the name of its class, and its JSON beside."""
    try:
        pickled = pickle.dumps(tokenizer)
    except Exception:  # whatever a plugin keeps in it
        pickled = b""
    return pickle.dumps((pickled, saved))


def _received(content: bytes) -> Tokenizer:
    pickled, saved = pickle.loads(content)
    try:
        tokenizer = pickle.loads(pickled)
    except Exception:  # the class is of a plugin file, which only the registry finds
        tokenizer = None
    if isinstance(tokenizer, Tokenizer):
        return tokenizer
    from zoo.data.tokenize import tokenizer_from_json

    return tokenizer_from_json(saved)


def serve(asked: BinaryIO, answered: BinaryIO) -> None:
    """Encode blocks until there are no more: first come the tokenizer and the job, then a block at a time."""
    try:
        content, job = pickle.load(asked)
        tokenizer = _received(content)
        while True:
            block = pickle.load(asked)
            try:
                reply: EncodedBlock | ZooError = encode_block(block, tokenizer, job)
            except ZooError as error:
                reply = type(error)(str(error))
            pickle.dump(reply, answered, protocol=pickle.HIGHEST_PROTOCOL)
            answered.flush()
    except (EOFError, BrokenPipeError, pickle.UnpicklingError):  # the process that asks has no more to ask, or is gone
        return


if __name__ == "__main__":
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a tokenizer prints must not get between
    serve(sys.stdin.buffer, replies)
    os._exit(0)  # what could not be sent is not sent again
