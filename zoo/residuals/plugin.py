"""Hands the built-in residual schemes over to the zoo."""

from zoo import Residual, hookimpl
from zoo.residuals.attention_residuals import AttentionResiduals
from zoo.residuals.dense import Dense
from zoo.residuals.embedding_skip import EmbeddingSkip
from zoo.residuals.hyper_connections import HyperConnections
from zoo.residuals.mhc import ManifoldHyperConnections
from zoo.residuals.parallel import Parallel
from zoo.residuals.post_norm import PostNorm
from zoo.residuals.pre_norm import PreNorm
from zoo.residuals.sandwich import Sandwich


@hookimpl
def zoo_residuals() -> dict[str, type[Residual]]:
    """The built-in residual schemes, by name."""
    return {
        "pre-norm": PreNorm,
        "post-norm": PostNorm,
        "sandwich": Sandwich,
        "parallel": Parallel,
        "embedding-skip": EmbeddingSkip,
        "dense": Dense,
        "hyper-connections": HyperConnections,
        "mhc": ManifoldHyperConnections,
        "attention-residuals": AttentionResiduals,
    }
