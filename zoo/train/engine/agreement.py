"""Whether the ranks agree on what each of them keeps for itself."""

import hashlib

import torch
from torch import Tensor, nn

from zoo.errors import PluginError
from zoo.train.engine.ranks import Ranks


def check_buffers_agree(model: nn.Module, ranks: Ranks) -> None:
    """Refuse to save buffers that differ from rank to rank, e.g. the counts by which a mixture of experts routes.

    Raises:
        PluginError: names the first of them, on all ranks.
    """
    if ranks.count == 1:
        return
    saved = model.state_dict().keys()  # what is not saved is a cache, of whatever lengths a rank has met
    hashes = ranks.gather({name: _hash(buffer) for name, buffer in model.named_buffers() if name in saved})
    for name, expected in hashes[0].items():
        if any(of_rank[name] != expected for of_rank in hashes):
            raise PluginError(
                f"the buffer {name} differs between the processes that train the model: after_update should be a "
                "function of the metrics that it is given, and forward should change no buffer"
            )


def _hash(tensor: Tensor) -> str:
    raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(raw.numpy().tobytes()).hexdigest()
