"""What a token mixer is and promises. Everything else in the zoo stands on this page.

Axis names, here and everywhere: ``b`` batch, ``t`` time (queries), ``s`` source time (keys), ``d`` model width,
``h`` heads, ``k`` key/query channels a head, ``v`` value channels a head, ``l`` lags, ``g`` groups, ``e`` experts,
``c`` chunk, ``n`` state size.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from zoo.errors import WriteError
from zoo.panel import Panel

State: TypeAlias = Any
"""A pytree (tuple, list, dict) of tensors whose first axis is the batch, so that rows can be selected and reordered."""


@dataclass(frozen=True)
class Mixed:
    """A mixer's write, for the mixers that have more to say than it.

    Args:
        out: the write, ``(b, t, d)``.
        losses: scalars to minimise beside the model's own loss, added as they are: the mixer weighs them itself. Where
            a step has several micro-batches, each counts as much as the others, whatever the number of its targets.
        metrics: detached numbers worth a look, of any shape, the same for every batch of one shape. Whole numbers are
            counts.
        shared: what later layers may use, by name: mostly tensors ``(b, t, …)`` of the tokens that were read. In
            ``step`` they hold the piece. Of two layers that hand up the same name the later one counts.
    """

    out: Tensor
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    shared: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, written: "Tensor | Mixed", part: nn.Module | None = None) -> "Mixed":
        """The same write as a `Mixed`, whether the mixer returned one or a plain tensor.

        Args:
            written: what `forward` returned.
            part: whose `forward`, for the error.

        Raises:
            WriteError: it returned neither.
        """
        mixed = written if isinstance(written, Mixed) else cls(written)
        if not isinstance(mixed.out, Tensor):
            raise WriteError(part, not_a_write(mixed.out))
        return mixed


def not_a_write(written: object, method: str = "forward") -> str:
    """What a method returned in place of a write, and what it should have returned."""
    return f"{method} returns {kind_of(written)}: return the write, or a Mixed"


def not_a_step(stepped: object) -> str:
    """The same of `step`, which returned no write with a state."""
    return f"step returns {kind_of(stepped)}: return the write and the state, (write, state)"


def kind_of(value: object) -> str:
    """What something is, in a sentence."""
    return "None" if value is None else f"a {type(value).__name__}"


def check_write(part: nn.Module, write: object, read: Tensor, method: str = "forward") -> Tensor:
    """Return what a part wrote, ``(b, t, d)``, if it can be added to the stream that it was read from.

    Raises:
        WriteError: it is no tensor, or of another shape.
    """
    if not isinstance(write, Tensor):
        raise WriteError(part, not_a_write(write, method), method)
    if write.shape != read.shape:
        shapes = f"{tuple(write.shape)} for reads of {tuple(read.shape)}"
        raise WriteError(part, f"{method} writes {shapes}: a write has the shape of its read", method)
    return write


def check_losses(part: nn.Module, losses: Mapping[str, object]) -> None:
    """Refuse an auxiliary loss that is no scalar tensor.

    Raises:
        WriteError: with its name.
    """
    for name, loss in losses.items():
        if not isinstance(loss, Tensor):
            raise WriteError(part, f"loss {name!r} is {kind_of(loss)}: a loss is a tensor of one number")
        if loss.ndim:
            raise WriteError(part, f"loss {name!r} has the shape {tuple(loss.shape)}: a loss is one number")


def keywords_of(method: Callable[..., Any]) -> frozenset[str]:
    """The parameters of a method that may be given by name: what the host fills is passed only where it is named."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    try:
        parameters = inspect.signature(method).parameters
    except (TypeError, ValueError):  # a method without a signature, e.g. of a scripted module
        return frozenset()
    return frozenset(name for name, parameter in parameters.items() if parameter.kind in named)


class TokenMixer(nn.Module):
    """Maps what is read from the residual stream, ``(b, t, d)``, to what is written to it, ``(b, t, d)``.

    The host normalises the read and adds the write: a mixer does neither. Its options are the keyword parameters of
    its ``__init__``; ``dim`` is the model width, and parameters named ``heads``, ``layer_index`` and ``layers`` are
    filled by the host where the user gave no value. Parameters that a mixer owns itself (outside of submodules) are
    initialised in a method ``reset_parameters``, which its ``__init__`` calls.

    ``forward`` and ``step`` are given more where their signature names it, as keywords that are None by default:

    * ``shared``, a dict of what earlier layers handed up in `Mixed.shared`, and the host's own ``"embedding"``, the
      embedded tokens ``(b, t, d)``. A mixer that misses a name in it, or gets None, behaves as a first layer.
    * ``documents`` (``forward`` only), ``(b, t)`` int64: a document is a run of equal numbers in a row, and its writes
      are those that it would get alone. For a mixer that does not name it, the host runs each document by itself.

    A docstring says, in this order: one sentence (the summary that lists show), the equation as an indented block,
    what the symbols are, an ``Options:`` section with a line ``name: meaning`` an option, the cost, the errors, and
    the source.
    """

    causal: ClassVar[bool] = True
    """The write at t depends on the reads up to t only. What predicts the next token takes no other; a model that fills
    in masked tokens does.
    """

    paper: ClassVar[str] = ""
    """Where the mixer comes from, e.g. ``"Vaswani et al. 2017, arXiv:1706.03762"``, or ``"unpublished"``."""

    no_decay: ClassVar[frozenset[str]] = frozenset()
    """Names of own parameters (outside of submodules) that weight decay leaves alone, e.g. ``{"A_log"}``. Vectors are
    never decayed. Any module may have it. Optimizers take such parameters for numbers, not for a matrix.
    """

    max_length: int | None = None
    """The longest sequence that it takes, None for any. A mixer whose options decide sets it in its ``__init__``."""

    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Laws of `zoo.testing` that this mixer cannot keep, by id, each with the reason."""

    def __init__(self, dim: int | None = None) -> None:  # noqa: ARG002 - a mixer without an __init__ is given it
        super().__init__()

    def forward(self, x: Tensor) -> Tensor | Mixed:
        """Mix whole sequences.

        Args:
            x: the reads, ``(b, t, d)``.

        Returns:
            The writes, ``(b, t, d)``, alone or in a `Mixed`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward(x)")

    if TYPE_CHECKING:  # a mixer may leave out `shared` and return a Mixed: type checkers see what they all have

        def step(self, x: Tensor, state: State | None = None) -> tuple[Any, State]:
            """See below."""
            raise NotImplementedError

    else:

        def step(self, x, state=None, *, shared=None):
            """Mix the next piece of sequences whose earlier reads are summed up in `state`.

            For every way of cutting a sequence into pieces, the writes of the pieces joined equal ``forward`` of the
            whole. This default is right for every causal mixer, and slow: its state is every read so far, and with
            it what was shared, if ``forward`` names that.

            Args:
                x: the next reads, ``(b, t, d)`` with t >= 1.
                state: what the step before returned, or None at the start. It is not changed.
                shared: what earlier layers handed up for these reads.

            Returns:
                The writes, ``(b, t, d)``, alone or in a `Mixed`, and the state for the next step.
            """
            if shared is None or "shared" not in keywords_of(self.forward):
                reads = x if state is None else torch.cat([state, x], dim=1)
                return _last(Mixed.of(self(reads), self), x.shape[1]), reads
            before, earlier = (x[:, :0], {}) if state is None else state
            reads = torch.cat([before, x], dim=1)
            joined = {name: _joined(earlier.get(name), value, x) for name, value in shared.items()}
            return _last(Mixed.of(self(reads, shared=joined), self), x.shape[1]), (reads, joined)

    def after_update(self, metrics: Mapping[str, Tensor]) -> None:
        """Adjust what gradients do not reach, e.g. a routing bias. The default does nothing.

        The training loop calls it once after each update of the parameters, never within a step: what ``forward``
        gives is a function of its reads, parameters and buffers alone.

        Args:
            metrics: what this mixer's `Mixed` said in the step. Over its micro-batches, and its places where layers
                share it, whole numbers are added up, exactly, and all others averaged, in float32 at least.
        """

    def panels(self, x: Tensor) -> Sequence[Panel]:  # noqa: ARG002 - a mixer that has something to show reads it
        """What there is to see inside the mixer, for ``zoo inspect``. The default shows nothing.

        It is called in evaluation mode and without gradients. One that fails costs the inspection its own panels only.

        Args:
            x: reads of validation data, ``(b, t, d)``.
        """
        return ()


class ChannelMixer(nn.Module):
    """Maps each token that is read from the stream, ``(b, t, d)``, by itself to what is written to it, ``(b, t, d)``.

    As for a `TokenMixer` the host normalises the read and adds the write, options are the keyword parameters of
    ``__init__``, and ``dim``, ``heads``, ``layer_index``, ``layers`` and ``context`` are filled by the host where the
    signature names them. What mixes tokens too, e.g. by a token shift, is a `TokenMixer`, and may stand in the place of
    a channel mixer as well. One that has losses, such as those of a router, or metrics returns a `Mixed`.
    """

    paper: ClassVar[str] = ""
    """Where it comes from, or ``"unpublished"``."""

    empty: ClassVar[bool] = False
    """Whether a layer with it has no channel mixer at all: nothing is read, and nothing written."""

    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Laws of `zoo.testing` that it cannot keep, by id, each with the reason."""

    def __init__(self, dim: int | None = None) -> None:  # noqa: ARG002 - one without an __init__ is given it
        super().__init__()

    def forward(self, x: Tensor) -> Tensor | Mixed:
        """Map the reads, ``(b, t, d)``, to the writes, ``(b, t, d)``, alone or in a `Mixed`."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(x)")

    def after_update(self, metrics: Mapping[str, Tensor]) -> None:
        """Adjust what gradients do not reach, as in `TokenMixer.after_update`. The default does nothing."""


def _joined(earlier: Any, piece: Any, x: Tensor) -> Any:
    """What was shared so far with what is shared of the next reads, `x`. What has another length is whole already."""
    if earlier is None:
        return piece
    return tree_map(
        lambda old, new: torch.cat([old, new], dim=1) if new.shape[:2] == x.shape[:2] else new, earlier, piece
    )


def _last(mixed: Mixed, count: int) -> Tensor | Mixed:
    """The last writes of a `Mixed`, with the last of what it hands up."""
    if not mixed.shared:
        return mixed.out[:, -count:]
    time = mixed.out.shape[1]
    of_piece = tree_map(lambda leaf: leaf[:, -count:] if leaf.shape[1] == time else leaf, dict(mixed.shared))
    return Mixed(mixed.out[:, -count:], shared=of_piece)
