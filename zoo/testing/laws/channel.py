"""The laws of channel mixers: those of every module that writes to the stream, and that each token is by itself."""

from collections.abc import Mapping

import torch

from zoo.testing.case import Case
from zoo.testing.law import Law, by_id, law
from zoo.testing.laws import forward, gradients, module, numerics, options, stream
from zoo.testing.running import modes, write
from zoo.testing.violation import LawViolation, first_difference


@law(
    "token-wise",
    bug="A batch norm, or a shift by one token, in a channel mixer: it has no state, so that generated text is another "
    "one than it was trained for.",
    limit=10,
)
def token_wise(case: Case) -> None:
    """What is written for a token is a function of what is read for it, whatever the tokens beside it and wherever it
    stands.
    """
    reads = case.reads if case.reads.shape[1] > 1 else case.longer(2)
    for running in modes(case.mixer, reads):
        alone = [write(running, token[None, None]) for token in reads.flatten(0, 1)]
        together = write(running, reads)
        if found := first_difference(together, torch.cat(alone).view_as(together)):
            text = f"write {found.time} is another one when the token stands alone {case.where(reads, running)}"
            raise LawViolation(f"{text}: {found}")


CHANNEL_LAWS: Mapping[str, Law] = by_id(
    [
        forward.shape,
        token_wise,
        forward.determinism,
        forward.seeded_training,
        forward.purity,
        forward.layout,
        forward.losses,
        gradients.gradients,
        gradients.gradcheck,
        stream.no_residual,
        stream.no_normalisation,
        module.state_dict,
        module.initialisation,
        module.meta_device,
        module.buffers_agree,
        module.checkpointing,
        numerics.precision,
        numerics.autocast,
        numerics.extremes,
        numerics.uninitialised_memory,
        options.options_round_trip,
        options.options_refused,
        options.docstring,
        module.compiles,
        module.inductor,
    ]
)
"""By id."""
