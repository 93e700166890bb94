"""Where the zoo keeps what it can make again."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_directory() -> Path:
    """``ZOO_CACHE`` if that is set, else the user's cache directory."""
    chosen = os.environ.get("ZOO_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("mixer-zoo", appauthor=False)
