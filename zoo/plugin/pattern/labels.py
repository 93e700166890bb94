"""Labels: all places of a pattern with one label are one module, so they have to ask for the same one."""

from typing import TYPE_CHECKING, Literal, TypeAlias

from zoo.errors import UsageError
from zoo.plugin.pattern.text import quoted, shortened

if TYPE_CHECKING:
    from zoo.plugin.pattern.tree import Call

Role: TypeAlias = Literal["token", "channel"]


class LabelError(UsageError):
    """A place that asks for another module than the first place of its label.

    Attributes:
        position: of the place in the text, None where it comes from none.
    """

    def __init__(self, message: str, position: tuple[int, int] | None) -> None:
        super().__init__(message)
        self.position = position


class Labels:
    """The first place of each label, gathered in reading order."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[Call, Role]] = {}

    def earlier(self, call: "Call", role: Role) -> "Call | None":
        """The first place of the label of a call; None where the call is that place, or has no label.

        Args:
            call: the next one of the pattern.
            role: what it mixes.

        Raises:
            LabelError: the call names another mixer than the first place, or has other options and not none at all.
        """
        if call.label is None:
            return None
        if call.label not in self._first:
            self._first[call.label] = call, role
            return None
        first, role_of_first = self._first[call.label]
        if problem := _problem(call, role, first, role_of_first):
            raise LabelError(f"label {quoted(call.label)} already stands for {problem}", call.position)
        return first


def _problem(call: "Call", role: Role, first: "Call", role_of_first: Role) -> str | None:
    """What the first place of a label has that a later one has not, and what was expected of that one."""
    if role != role_of_first:
        return f"a {role_of_first} mixer: expected another label for a {role} mixer"
    if call.name != first.name:
        return f"{shortened(str(first))}: expected that mixer or another label"
    if call.options and not call.same_options(first):
        expected = "expected these options or none" if first.options else "expected no options, or give them there"
        return f"{shortened(str(first))}: {expected}"
    return None
