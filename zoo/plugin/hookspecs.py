"""The hooks through which a plugin hands things to the zoo: one a kind, see `zoo.plugin.kinds`, and one for commands.

The hook of a kind returns a dict from names to classes. A name is made of lower-case letters, digits and ``-``, and
starts with a letter. The value is the class itself: the zoo builds it, with the keyword parameters of its ``__init__``
as options.
"""

from typing import TYPE_CHECKING

import pluggy

from zoo.plugin.names import GROUP

if TYPE_CHECKING:
    import typer
    from torch.optim import Optimizer

    from zoo.contract import ChannelMixer, TokenMixer
    from zoo.corpus import Corpus
    from zoo.executor import Executor
    from zoo.hybrid import Hybrid
    from zoo.reporter import Reporter
    from zoo.residual import Residual
    from zoo.task import Task
    from zoo.tokenizer import Tokenizer

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def zoo_mixers() -> "dict[str, type[TokenMixer]]":  # type: ignore[empty-body]
    """Token mixers by name, for ``--mixer``. Built with ``cls(dim, **options)``."""


@hookspec
def zoo_channel_mixers() -> "dict[str, type[ChannelMixer]]":  # type: ignore[empty-body]
    """Channel mixers by name, for ``--channel-mixer`` and behind the ``/`` of a pattern. Built like mixers."""


@hookspec
def zoo_residuals() -> "dict[str, type[Residual]]":  # type: ignore[empty-body]
    """Residual schemes by name, for ``--residual``. Built with ``cls(dim, sites=…, **options)``."""


@hookspec
def zoo_tasks() -> "dict[str, type[Task]]":  # type: ignore[empty-body]
    """Tasks by name, for ``--data``. Built with ``cls(**options)``."""


@hookspec
def zoo_corpora() -> "dict[str, type[Corpus]]":  # type: ignore[empty-body]
    """Corpora by name, for ``--data``. Built with ``cls(**options)``."""


@hookspec
def zoo_tokenizers() -> "dict[str, type[Tokenizer]]":  # type: ignore[empty-body]
    """Tokenizers by name, for ``--tokenizer``. Built with ``cls(**options)``, and then trained on the text."""


@hookspec
def zoo_optimizers() -> "dict[str, type[Optimizer]]":  # type: ignore[empty-body]
    """Optimizers by name, for ``--optimizer``. Built with ``cls(groups, lr=…, weight_decay=…, **options)``."""


@hookspec
def zoo_hybrids() -> "dict[str, type[Hybrid]]":  # type: ignore[empty-body]
    """Hybrids by name, for ``--mixer`` in place of a pattern. Built with ``cls(**options)``."""


@hookspec
def zoo_executors() -> "dict[str, type[Executor]]":  # type: ignore[empty-body]
    """Executors by name, for ``zoo compare --on``. Built with ``cls(jobs=…, **options)``."""


@hookspec
def zoo_reporters() -> "dict[str, type[Reporter]]":  # type: ignore[empty-body]
    """Reporters by name, for ``--report``. Built with ``cls(**options)``."""


@hookspec
def zoo_commands(app: "typer.Typer") -> None:
    """Commands of the program ``zoo``, which the plugin adds to `app`: ``app.command("export")(export)``.

    `app` is empty, and the plugin's own. A command of the zoo cannot be replaced. One of another plugin that has the
    same name is reached as ``zoo distribution:name``, and so is this one.
    """
