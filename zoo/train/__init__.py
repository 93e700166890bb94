"""Settings, the training loop, checkpoints and the run directory. Called, it trains: see `zoo.api.train.train`.

A package and a function of one name share one attribute of `zoo`. So the package is what is called.
"""

import inspect
import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """The package, which trains when it is called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Train a model of token mixers; `zoo.api.train.train` says how."""
        return _function()(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(_function())


def _function() -> Any:
    # by its name: what trains is far above this package, and is not imported with it
    return import_module("zoo.api.train").train


sys.modules[__name__].__class__ = _CallablePackage
