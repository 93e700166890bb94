"""Whether several processes may each hold a part of a member: a law that they ask together."""

from dataclasses import replace

from zoo.errors import UsageError
from zoo.testing.checker import Request
from zoo.testing.laws.ranks import sharded

KINDS = ("mixer", "channel-mixer")
"""Those whose members are modules with parameters."""


def of_several_processes(request: Request) -> Request:
    """The request of the law `sharded` alone, for processes of one group that all draw the same cases.

    Raises:
        UsageError: members of the kind are no modules.
    """
    kind = request.suite.kind
    if kind.name not in KINDS:
        raise UsageError(f"`ranks` is for mixers and channel mixers: {kind.plural} hold no parameters")
    suite = replace(request.suite, laws={sharded.id: sharded})
    return replace(request, suite=suite, only=None, skip=(), expected_failures={})
