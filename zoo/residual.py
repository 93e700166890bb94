"""What a residual scheme is: how the parts of a model share their stream."""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from zoo.contract import kind_of
from zoo.errors import WriteError

Stream: TypeAlias = Any
"""A pytree (tuple, list, dict) of tensors ``(b, t, …)``."""


class Residual(nn.Module):
    """How the parts of a model read from their residual stream and write to it.

    A site is a place where something reads and writes. A layer has one for its token mixers and one for its channel
    mixer, if it has one; sites are counted from 0 along the model. The host calls ``open``, then ``read`` and ``write``
    at every site in order, then ``close``, whether it runs whole sequences or a piece of them. So a scheme is
    token-wise: position t of what it returns depends on position t of what it was given, and it keeps no state.

    Its options are the keyword parameters of its ``__init__``. The host fills ``dim``, ``sites``, ``layers`` (how many
    there are) and ``roles`` (``"token"`` or ``"channel"``, one a site) where the signature names them. Parameters that
    a scheme owns itself are initialised in ``reset_parameters``, which its ``__init__`` calls.

    Args:
        dim: the model width d.
        sites: how many there are.
    """

    additive: ClassVar[bool] = False
    """Parts side by side may write one after the other: ``write`` of a sum is the sum of the writes. Otherwise the host
    adds up what the parts of a site write, and writes once."""

    starts_as_pre_norm: ClassVar[bool] = False
    """At its initialisation it is `pre-norm` with its default options, whatever options it has itself. A law of
    `zoo check` holds it to that."""

    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Laws of `zoo.testing` that it cannot keep, by id, each with the reason."""

    no_decay: ClassVar[frozenset[str]] = frozenset()
    """Names of own parameters that weight decay leaves alone, whatever their shape."""

    paper: ClassVar[str] = ""
    """Where the scheme comes from, e.g. ``"Xiong et al. 2020, arXiv:2002.04745"``."""

    def __init__(self, dim: int, *, sites: int) -> None:
        super().__init__()
        self.dim, self.sites = dim, sites

    def open(self, embedded: Tensor) -> Stream:
        """The stream before the first site, from the embedded tokens, ``(b, t, d)``; those themselves by default."""
        return embedded

    def read(self, stream: Stream, site: int) -> Tensor:
        """What the parts of a site see, ``(b, t, d)``, normalised."""
        raise NotImplementedError(f"{type(self).__name__} has no read(stream, site)")

    def write(self, stream: Stream, site: int, written: Tensor) -> Stream:
        """The stream after what the parts of a site wrote, ``(b, t, d)``. The stream that was given is not changed."""
        raise NotImplementedError(f"{type(self).__name__} has no write(stream, site, written)")

    def close(self, stream: Stream) -> Tensor:
        """What is unembedded, ``(b, t, d)``, from the stream behind the last site: the last norm is the scheme's."""
        raise NotImplementedError(f"{type(self).__name__} has no close(stream)")

    def show(self, stream: Stream) -> Tensor:
        """The stream as one vector a token, ``(b, t, d)``, for `zoo.watch_stream`: itself, if it is one tensor."""
        if not isinstance(stream, Tensor):
            raise NotImplementedError(f"{type(self).__name__} has no show(stream), and its stream is {kind_of(stream)}")
        return stream

    def added(self, stream: Stream, site: int, written: Tensor) -> Tensor:
        """What a write adds to what is shown of the stream, ``(b, t, d)``, for `zoo.watch_stream`."""
        return self.show(self.write(stream, site, written)) - self.show(stream)


def check_read(scheme: Residual, read: object, like: Tensor, method: str) -> Tensor:
    """Return what a scheme gives in place of the stream, if it has the shape of the embedded tokens, ``(b, t, d)``.

    Raises:
        WriteError: it is no tensor, or of another shape.
    """
    if not isinstance(read, Tensor):
        raise WriteError(scheme, f"{method} returns {kind_of(read)}: return a tensor {tuple(like.shape)}", method)
    if read.shape != like.shape:
        raise WriteError(scheme, f"{method} returns {tuple(read.shape)}: expected {tuple(like.shape)}", method)
    return read


def check_stream(scheme: Residual, stream: Stream, like: Tensor, method: str) -> Stream:
    """Return a stream, if all in it is ``(b, t, …)`` for embedded tokens ``(b, t, d)``.

    Raises:
        WriteError: something else is in it, or nothing.
    """
    leaves = [stream] if isinstance(stream, Tensor) else tree_leaves(stream)
    if not leaves:
        raise WriteError(scheme, f"{method} returns {kind_of(stream)} without a tensor: return the stream", method)
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise WriteError(scheme, f"{method} returns a stream with {kind_of(leaf)} in it: expected tensors", method)
        if leaf.shape[:2] != like.shape[:2]:
            wanted = f"({', '.join(map(str, like.shape[:2]))}, …)"
            raise WriteError(scheme, f"{method} returns a stream of {tuple(leaf.shape)}: expected {wanted}", method)
    return stream
