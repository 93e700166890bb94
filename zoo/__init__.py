"""A zoo of token mixers: write one class, register it, and train, check and compare it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.api.bench import bench as bench
    from zoo.api.bench import bench_model as bench_model
    from zoo.api.check import check as check
    from zoo.api.compare import compare as compare
    from zoo.api.train import train as train
    from zoo.contract import ChannelMixer as ChannelMixer
    from zoo.contract import Mixed as Mixed
    from zoo.contract import State as State
    from zoo.contract import TokenMixer as TokenMixer
    from zoo.corpus import Corpus as Corpus
    from zoo.data.load import load_data as load_data
    from zoo.errors import UsageError as UsageError
    from zoo.errors import ZooError as ZooError
    from zoo.executor import Executor as Executor
    from zoo.hybrid import Hybrid as Hybrid
    from zoo.lab.evaluation.evaluation import evaluate as evaluate
    from zoo.model.backbone import Backbone as Backbone
    from zoo.model.build import build_model as build_model
    from zoo.model.generate import generate as generate
    from zoo.model.members import create_mixer as create_mixer
    from zoo.model.members import list_mixers as list_mixers
    from zoo.model.norm import RMSNorm as RMSNorm
    from zoo.model.watch import watch_stream as watch_stream
    from zoo.panel import Panel as Panel
    from zoo.plugin.hookspecs import hookimpl as hookimpl
    from zoo.plugin.local import register as register
    from zoo.reporter import ReportedRun as ReportedRun
    from zoo.reporter import Reporter as Reporter
    from zoo.residual import Residual as Residual
    from zoo.run import load_run as load_run
    from zoo.save import save_run as save_run
    from zoo.task import IGNORE as IGNORE
    from zoo.task import Examples as Examples
    from zoo.task import Task as Task
    from zoo.tokenizer import Tokenizer as Tokenizer

# Names are imported on first use, so that `import zoo` (and with it `zoo --help`) does not wait for torch.
_HOME = {
    "Backbone": "zoo.model.backbone",
    "ChannelMixer": "zoo.contract",
    "Corpus": "zoo.corpus",
    "Examples": "zoo.task",
    "Executor": "zoo.executor",
    "Hybrid": "zoo.hybrid",
    "IGNORE": "zoo.task",
    "Mixed": "zoo.contract",
    "Panel": "zoo.panel",
    "RMSNorm": "zoo.model.norm",
    "ReportedRun": "zoo.reporter",
    "Reporter": "zoo.reporter",
    "Residual": "zoo.residual",
    "State": "zoo.contract",
    "Task": "zoo.task",
    "TokenMixer": "zoo.contract",
    "Tokenizer": "zoo.tokenizer",
    "UsageError": "zoo.errors",
    "ZooError": "zoo.errors",
    "bench": "zoo.api.bench",
    "bench_model": "zoo.api.bench",
    "build_model": "zoo.model.build",
    "check": "zoo.api.check",
    "compare": "zoo.api.compare",
    "create_mixer": "zoo.model.members",
    "evaluate": "zoo.lab.evaluation.evaluation",
    "generate": "zoo.model.generate",
    "hookimpl": "zoo.plugin.hookspecs",
    "list_mixers": "zoo.model.members",
    "load_data": "zoo.data.load",
    "load_run": "zoo.run",
    "register": "zoo.plugin.local",
    "save_run": "zoo.save",
    "train": "zoo.api.train",
    "watch_stream": "zoo.model.watch",
}

__all__ = [*sorted(_HOME)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    found = getattr(import_module(_HOME[name]), name)
    return globals().get(name, found)  # zoo.train is a package too, which is called like the function


def __dir__() -> list[str]:
    return [*globals(), *__all__]
