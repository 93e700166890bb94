"""What each validation sequence scored in the last evaluation of a run, kept so that runs can be compared on them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.data.score import Score
from zoo.errors import UsageError
from zoo.train.manifest import read_sealed, write_sealed

FILE = "scores.safetensors"

_COLUMNS = ("nats", "targets", "correct", "scored")


def write_scores(run: Path, score: Score) -> None:
    """Write the file into the folder of a run.

    Args:
        run: the folder.
        score: measured with ``by_sequence=True``.

    Raises:
        ZooError: it cannot be written.
    """
    import torch
    from safetensors.torch import save

    table = torch.cat(score.sequences)
    write_sealed(run, FILE, save({name: table[:, i].contiguous() for i, name in enumerate(_COLUMNS)}))


def read_scores(run: Path) -> dict[str, NDArray[np.float64]] | None:
    """Nats, targets, correct and scored predictions of each sequence, ``(m,)`` each, by name; None without a file.

    Raises:
        UsageError: the file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        table: dict[str, NDArray[np.float64]] = load(read_sealed(run, FILE))
        return {name: table[name] for name in _COLUMNS}
    except FileNotFoundError:
        return None
    except (SafetensorError, KeyError) as error:
        raise UsageError(f"{run / FILE} is damaged ({error}): put back a good copy, or remove the run") from None
