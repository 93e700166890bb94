"""The corpus that small language models are usually shown with."""

from collections.abc import Iterator
from pathlib import Path

from zoo.corpus import Corpus
from zoo.data.cache import cache_directory
from zoo.data.files import read_text
from zoo.errors import UsageError

URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
_TIMEOUT = 20
"""Seconds without a sign of the server."""


class Shakespeare(Corpus):
    """Tiny Shakespeare: 1,115,394 characters of his plays, downloaded when they are first asked for."""

    def documents(self) -> Iterator[str]:
        """All of it, which is one document.

        Raises:
            UsageError: it cannot be downloaded.
        """
        import pooch

        try:
            path = pooch.retrieve(
                URL,
                known_hash=f"sha256:{SHA256}",
                path=cache_directory() / "corpora",
                fname="shakespeare.txt",
                downloader=pooch.HTTPDownloader(timeout=_TIMEOUT),
            )
        except (OSError, ValueError) as error:  # no network, no room, or a file with another hash
            raise UsageError(
                f"cannot download the corpus 'shakespeare' ({type(error).__name__}): get {URL} on a machine that can, "
                "and pass the file with `data`=PATH"
            ) from error
        yield read_text(Path(path))
