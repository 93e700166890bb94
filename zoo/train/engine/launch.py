"""Whether this process is one of several that train together; known before torch is imported."""

import os
from collections.abc import Mapping, MutableMapping

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def is_launched(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether torchrun, or whatever else sets its environment variables, has started this process beside others."""
    return all(name in environ for name in _VARIABLES) and environ["WORLD_SIZE"] != "1"


def choose_log_level(environ: MutableMapping[str, str]) -> None:
    """Keep warnings of torch's C++ code from the user, unless they were asked for.

    Each rank would print that every parameter was used, which DDP must look for on our behalf.

    Args:
        environ: of the process, before torch is imported.
    """
    if is_launched(environ):
        environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
