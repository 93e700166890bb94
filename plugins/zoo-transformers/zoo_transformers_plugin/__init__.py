"""What the mixer zoo finds of zoo-transformers: two commands, and the parts that imported models need.

Nothing here imports transformers, for which no other command should wait.
"""

from typing import TYPE_CHECKING

import zoo

if TYPE_CHECKING:
    import typer


@zoo.hookimpl
def zoo_commands(app: "typer.Typer") -> None:
    """``zoo export`` and ``zoo import``."""
    from zoo_transformers_plugin.commands import export, import_checkpoint

    app.command("export")(export)
    app.command("import")(import_checkpoint)


@zoo.hookimpl
def zoo_channel_mixers() -> "dict[str, type[zoo.ChannelMixer]]":
    """The feed-forward network of GPT-2."""
    from zoo_transformers_plugin.members import BiasedMLP

    return {"biased-mlp": BiasedMLP}


@zoo.hookimpl
def zoo_residuals() -> "dict[str, type[zoo.Residual]]":
    """The norms of pretrained models."""
    from zoo_transformers_plugin.members import PretrainedNorm

    return {"pretrained-norm": PretrainedNorm}


@zoo.hookimpl
def zoo_tokenizers() -> "dict[str, type[zoo.Tokenizer]]":
    """The tokenizer of an imported model, or none at all."""
    from zoo_transformers_plugin.tokenizers import CheckpointTokenizer, TokenIds

    return {"checkpoint": CheckpointTokenizer, "token-ids": TokenIds}
