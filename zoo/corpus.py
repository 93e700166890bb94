"""What a corpus is and promises: texts to learn from."""

from collections.abc import Iterator
from typing import ClassVar


class Corpus:
    """A named collection of texts that a model learns from, for ``--data``.

    Its options are the keyword parameters of its ``__init__``, with annotations and defaults, as those of a mixer are.
    A docstring says in one sentence what the texts are, and in an ``Options:`` section what each option means.
    """

    paper: ClassVar[str] = ""
    """Where the texts come from, if they are published."""

    streaming: ClassVar[bool] = False
    """Whether the texts may not fit into memory. They are then encoded once, to shards in the cache, one at a time; and
    whole documents are for validation, instead of the end of the text."""

    def documents(self) -> Iterator[str]:
        """The texts, one a document, in an order that never changes. They are joined by newlines.

        Raises:
            UsageError: the texts are not available, with what to do.
        """
        raise NotImplementedError(f"{type(self).__name__} has no documents()")

    def fingerprint(self) -> str:
        """Of a streaming corpus: what changes when its texts do, and is known without reading them.

        The name with the options, and the version of the plugin, count anyway. When it changes, the shards are made
        again.
        """
        return ""
