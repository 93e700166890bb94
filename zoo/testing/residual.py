"""A residual scheme as something to check: walked as a model walks it, with fixed parts at its sites."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from zoo.contract import TokenMixer
from zoo.model.build import build_seeded
from zoo.model.create import create
from zoo.residual import Residual, Stream, check_read, check_stream
from zoo.testing.subject import Subject

ROLES = (
    ("token", "channel", "token"),
    ("token", "token"),
    ("token", "channel", "token", "channel"),
    ("token", "token", "channel", "token", "channel"),
)
"""What stands at the sites of the models in which a scheme is looked at; the layer of a case says in which."""

Visit = Callable[[int, Stream, Tensor, Tensor, Stream], None]
"""Hears of every site: its number, the stream, what was read and written, and the stream after it."""


class Walk(nn.Module):
    """A scheme and fixed parts, one a site, as a module from the embedded tokens to what is closed, ``(b, t, d)``.

    A part is smooth, token-wise, different at every site, and has neither parameters nor buffers: what is broken is
    broken in the scheme.

    Args:
        residual: the scheme.
        roles: what stands at each site.
    """

    def __init__(self, residual: Residual, roles: Sequence[str]) -> None:
        super().__init__()
        self.residual, self.roles = residual, tuple(roles)

    def forward(self, x: Tensor, visit: Visit | None = None, added: Mapping[int, Tensor] | None = None) -> Tensor:
        """Open a stream, let every site read and write, and close it.

        Args:
            x: the embedded tokens.
            visit: is called at every site.
            added: what is written beside what the parts write, by site.
        """
        residual = self.residual
        stream = check_stream(residual, residual.open(x), x, "open")
        for site in range(len(self.roles)):
            read = check_read(residual, residual.read(stream, site), x, "read")
            written = part(read, site)
            if added and site in added:
                written = written + added[site]
            later = check_stream(residual, residual.write(stream, site, written), x, "write")
            if visit is not None:
                visit(site, stream, read, written, later)
            stream = later
        return check_read(residual, residual.close(stream), x, "close")


def part(read: Tensor, site: int) -> Tensor:
    """What the part of a site writes. Under autocast it writes in half precision, as matrix products do."""
    written = torch.sin(read.roll(site + 1, -1) + site)
    if torch.is_autocast_enabled(read.device.type):
        return written.to(torch.get_autocast_dtype(read.device.type))
    return written


class ResidualSubject(Subject):
    """A residual scheme."""

    def build(self, options: Mapping[str, Any], *, dim: int, heads: int, seed: int, layer: int = 0) -> TokenMixer:  # noqa: ARG002
        """A walk along the scheme, with the sites of one of `ROLES`.

        Raises:
            UsageError: what the scheme refuses.
            PluginError: it fails to build.
        """
        roles = ROLES[layer % len(ROLES)]
        filled = {"dim": dim, "sites": len(roles), "layers": roles.count("token"), "roles": roles}

        def build() -> Walk:
            assert self.entry is not None
            return Walk(create(self.entry, {**self.given, **options}, **filled), roles)

        return cast(TokenMixer, build_seeded(seed, build))

    def details(self, layer: int) -> list[str]:
        """What stands at the sites."""
        return [f"roles={'+'.join(ROLES[layer % len(ROLES)])}"]
