"""The laws of residual schemes: those of every module, that each token is by itself, and how sites share the stream."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from zoo.contract import kind_of
from zoo.model.members import create_residual
from zoo.residual import Stream
from zoo.testing.case import Case
from zoo.testing.law import Law, by_id, law
from zoo.testing.laws import channel, forward, gradients, module, numerics, options
from zoo.testing.residual import ROLES, Walk, part
from zoo.testing.running import drawn, evaluating, in_dtype
from zoo.testing.violation import LawViolation, NotApplicable, apart


def _walk(case: Case) -> Walk:
    """A copy of what is judged, in evaluation mode."""
    return cast(Walk, evaluating(case.mixer))


@law(
    "sites",
    bug="A list with one norm too few, or the output of the last channel mixer that is never added: the model trains, "
    "one part of it for nothing.",
    limit=8,
)
def sites(case: Case) -> None:
    """What is written at every site reaches what is closed, and what is read there depends on what came before, in
    models of token mixers alone, with channel mixers, and with an odd number of sites.
    """
    for layer, roles in enumerate(ROLES):
        sizes = {"dim": case.sizes.dim, "heads": case.sizes.heads, "layer": layer}
        built = case.subject.build(case.options, **sizes, seed=case.seed)
        walk, reads = cast(Walk, drawn(built.double(), case.seed).eval()), case.reads.clone().requires_grad_()
        _check_sites(walk, reads, f"in a model of {'+'.join(roles)} {case.where(reads)}")


def _check_sites(walk: Walk, reads: Tensor, where: str) -> None:
    nothing = {site: torch.zeros_like(reads, requires_grad=True) for site in range(len(walk.roles))}
    read_at: dict[int, Tensor] = {}

    def visit(site: int, _stream: Stream, read: Tensor, _written: Tensor, _later: Stream) -> None:
        read_at[site] = read

    closed = walk(reads, visit, nothing)
    for site, added in nothing.items():
        if not _reaches(closed, [added]):
            raise LawViolation(f"no gradient reaches what is written at site {site} {where}")
        if not _reaches(read_at[site], [reads, *(nothing[earlier] for earlier in range(site))]):
            raise LawViolation(f"what is read at site {site} depends on nothing that came before {where}")


def _reaches(value: Tensor, sources: list[Tensor]) -> bool:
    """Whether a gradient leads from a value to one of some tensors, in any row of it."""
    if not value.requires_grad:
        return False
    got = torch.autograd.grad((value * part(value.detach(), 0)).sum(), sources, retain_graph=True, allow_unused=True)
    return any(gradient is not None and bool(gradient.any()) for gradient in got)


@law(
    "stream",
    bug="`stream += written` in place, or an addition that turns the stream into bfloat16 under autocast: small writes "
    "vanish in deep models.",
    limit=8,
)
def stream(case: Case) -> None:
    """A write changes neither the stream that it is given nor what is written, and never lowers the precision of the
    stream, under autocast too.
    """
    reads = in_dtype(case.reads, torch.float32)
    walk = _walk(case).float()
    for casting in (False, True):
        mode = "under autocast " if casting else ""
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=casting):
            current = walk.residual.open(reads)
            for site in range(len(walk.roles)):
                written = part(walk.residual.read(current, site), site)
                before = [leaf.clone() for leaf in (*tree_leaves(current), written)]
                later = walk.residual.write(current, site, written)
                for leaf, kept in zip((*tree_leaves(current), written), before, strict=True):
                    if not torch.equal(leaf, kept):
                        changed = "what is written" if leaf is written else "the stream that it is given"
                        raise LawViolation(f"write changes {changed} at site {site} {mode}{case.where(reads)}")
                for leaf in tree_leaves(later):
                    if torch.promote_types(leaf.dtype, reads.dtype) != leaf.dtype:
                        kind = f"{reads.dtype} to {leaf.dtype}".replace("torch.", "")
                        raise LawViolation(f"the stream turns from {kind} at site {site} {mode}{case.where(reads)}")
                current = later


@law(
    "additive",
    bug="A norm on what is written, in a scheme that says additive = True: two mixers side by side are another model "
    "than their sum.",
    limit=8,
)
def additive(case: Case) -> None:
    """A scheme that says `additive` gives for the write of a sum what the writes one after the other give."""
    walk = _walk(case)
    if not walk.residual.additive:
        raise NotApplicable("it does not say additive = True: the host adds up what the parts of a site write")

    def visit(site: int, before: Stream, _read: Tensor, written: Tensor, _later: Stream) -> None:
        first, second = written, part(written, site + 1)
        at_once = walk.residual.write(before, site, first + second)
        in_turn = walk.residual.write(walk.residual.write(before, site, first), site, second)
        for one, other in zip(tree_leaves(in_turn), tree_leaves(at_once), strict=True):
            if difference := apart(one, other):
                text = f"two writes at site {site} are another stream than the write of their sum"
                raise LawViolation(f"{text} {case.where(case.reads)}: |Δ| = {difference:.2g}")

    with torch.no_grad():
        walk(case.reads, visit)


START = 1e-6
"""How far what is closed may lie from that of `pre-norm`: parameters begin in float32."""


@law(
    "pre-norm-at-start",
    bug="The mixing matrix of hyper-connections that starts at 1/n everywhere: a comparison with pre-norm compares two "
    "initialisations.",
    limit=8,
)
def pre_norm_at_start(case: Case) -> None:
    """A scheme that says `starts_as_pre_norm` is at its initialisation what `pre-norm` is, whatever its options."""
    walk = cast(Walk, case.build().double().eval())
    if not walk.residual.starts_as_pre_norm:
        raise NotApplicable("it does not say starts_as_pre_norm = True")
    layers, dim = walk.roles.count("token"), case.sizes.dim
    plain = Walk(create_residual("pre-norm", dim=dim, layers=layers, roles=walk.roles), walk.roles).double().eval()
    with torch.no_grad():
        difference = float((walk(case.reads) - plain(case.reads)).abs().nan_to_num(nan=torch.inf).max())
    if difference > START:
        raise LawViolation(f"it does not start as pre-norm {case.where(case.reads)}: |Δ| = {difference:.2g}")


@law(
    "shown",
    bug="A stream that is a tuple, and no `show`: the model trains for a day, and `zoo inspect` fails on it.",
    grade="finish",
    limit=8,
)
def shown(case: Case) -> None:
    """The stream can be shown at every site as one vector a token, and so can what a write adds to it."""
    walk, reads = _walk(case), case.reads

    def visit(site: int, before: Stream, _read: Tensor, written: Tensor, _later: Stream) -> None:
        for name, value in _shown(walk, before, site, written):
            if not isinstance(value, Tensor) or value.shape != reads.shape:
                got = tuple(value.shape) if isinstance(value, Tensor) else kind_of(value)
                raise LawViolation(f"{name} gives {got} at site {site}, not {tuple(reads.shape)}")

    with torch.no_grad():
        walk(reads, visit)


def _shown(walk: Walk, before: Stream, site: int, written: Tensor) -> Iterator[tuple[str, Any]]:
    yield "show", walk.residual.show(before)
    yield "added", walk.residual.added(before, site, written)


RESIDUAL_LAWS: Mapping[str, Law] = by_id(
    [
        forward.shape,
        channel.token_wise,
        sites,
        stream,
        additive,
        pre_norm_at_start,
        forward.determinism,
        forward.seeded_training,
        forward.purity,
        forward.layout,
        gradients.gradients,
        gradients.gradcheck,
        module.state_dict,
        module.initialisation,
        module.meta_device,
        module.checkpointing,
        numerics.precision,
        numerics.autocast,
        numerics.extremes,
        numerics.uninitialised_memory,
        shown,
        options.options_round_trip,
        options.options_refused,
        options.docstring,
        options.paper,
        module.compiles,
        module.inductor,
    ]
)
"""By id."""
