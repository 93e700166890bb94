"""Where Hypothesis keeps what it notes of the sources."""

import os

from zoo.files.cache_directory import cache_directory


def keep_hypothesis_in_the_cache() -> None:
    """Have it keep that in the cache, and not in a folder of the user's; to be called before it is imported."""
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(cache_directory() / "hypothesis"))
