"""Hands the built-in optimizers over to the zoo."""

from torch.optim import Optimizer

from zoo import hookimpl
from zoo.optimizers.adamw import AdamW
from zoo.optimizers.lion import Lion
from zoo.optimizers.muon import Muon
from zoo.optimizers.sgd import SGD


@hookimpl
def zoo_optimizers() -> dict[str, type[Optimizer]]:
    """The built-in optimizers, by name."""
    return {"adamw": AdamW, "lion": Lion, "muon": Muon, "sgd": SGD}
