"""How the C library hands memory out while a model is trained on a CPU."""

import ctypes
from collections.abc import Mapping

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

_NEVER = -1
"""No memory at the end of the heap is given back."""

_THRESHOLDS = (1 << 30, 32 << 20)
"""Bytes from which on a block is mapped by itself: the first that the library takes. Older ones take 32 MiB at most."""


def keep_freed_memory(environ: Mapping[str, str]) -> bool:
    """Let glibc keep the memory that tensors free, for those of the next step.

    By default it returns large blocks to the kernel as soon as a tensor dies and asks for them again a moment later,
    page fault by page fault. No result depends on it.

    Args:
        environ: of the process. Whoever sets a variable of an allocator there has chosen, and nothing is changed.

    Returns:
        Whether it does; other C libraries are left as they are.
    """
    if is_chosen(environ):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - glibc has it and no other library
        mapped = any(library.mallopt(_M_MMAP_THRESHOLD, size) for size in _THRESHOLDS)
        return bool(library.mallopt(_M_TRIM_THRESHOLD, _NEVER)) and mapped
    except (OSError, AttributeError, TypeError):  # the last on Windows
        return False


def is_chosen(environ: Mapping[str, str]) -> bool:
    """Whether the user has set up an allocator: by variables of glibc, or by preloading another one."""
    variables = any(name.startswith("MALLOC_") for name in environ)
    return variables or "malloc" in environ.get("GLIBC_TUNABLES", "") or "malloc" in environ.get("LD_PRELOAD", "")
