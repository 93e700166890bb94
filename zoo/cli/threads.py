"""How the threads of torch wait for each other, which is decided when torch is imported and cannot be changed later."""

from collections.abc import MutableMapping

_CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def let_threads_sleep(environ: MutableMapping[str, str]) -> None:
    """Have a thread that is done with its part sleep until the others are, unless the user has chosen otherwise.

    By default OpenMP's threads spin: on a busy machine each of them then burns its time slice while the one that they
    wait for has none, and a training step takes ten times as long. Asleep, they leave the processor to it.

    Args:
        environ: of the process, before torch is imported. Processes that it starts inherit it.
    """
    if not any(name in environ for name in _CHOICES):
        environ["OMP_WAIT_POLICY"] = "PASSIVE"
