"""What is checked of a kind whose members are no modules: an optimizer, a task, a tokenizer, a corpus.

A law looks at such a member with its options at their defaults, from a few seeds, and then with each choice of each
option once. There are no sizes to draw, so that nothing here needs Hypothesis.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from zoo.errors import UsageError, ZooError
from zoo.model.create import create
from zoo.plugin.isolation import random_numbers_kept
from zoo.testing.covering import choices_of, seen_in
from zoo.testing.found import Search
from zoo.testing.law import Law
from zoo.testing.subject import Subject, format_error
from zoo.testing.violation import LawViolation, NotApplicable

SEEDS = 3
"""Cases with the options at their defaults."""


@dataclass(frozen=True)
class MemberCase:
    """A case of a member that is no module: its options, and a seed. A kind has a subclass that says how one is used.

    Args:
        subject: what is checked.
        options: those that are not at their defaults.
        seed: of what the law draws.
    """

    subject: "MemberSubject"
    options: Mapping[str, Any]
    seed: int = 0

    def create(self) -> Any:
        """A new one, as its user would get it.

        Raises:
            UsageError: what the member refuses.
            PluginError: it fails to build.
        """
        return self.subject.create(self.options)

    def use(self) -> None:
        """Make one and use it in the plainest way, to see whether it works; raises what that raises."""
        self.create()

    @property
    def builds(self) -> bool:
        """Whether it can be made with these options."""
        try:
            with random_numbers_kept():
                self.create()
        except ZooError:
            return False
        return True

    @property
    def works(self) -> bool:
        """Whether it can be used."""
        try:
            with random_numbers_kept():
                self.use()
        except NotApplicable:
            return True
        except Exception:
            return False
        return True

    @property
    def where(self) -> str:
        """The options with which a law was seen broken."""
        options = {**self.subject.given, **self.options}
        return f" ({', '.join(f'{name}={value!r}' for name, value in options.items())})" if options else ""

    def to_dict(self) -> dict[str, Any]:
        """The case as plain values."""
        return {"seed": self.seed, "options": dict(self.options)}


@dataclass(frozen=True)
class MemberSubject(Subject):
    """A member that is no module.

    Args:
        case_type: the cases of its kind.
    """

    case_type: type[MemberCase] = MemberCase

    def create(self, options: Mapping[str, Any], **filled: Any) -> Any:
        """A new one with these options.

        Raises:
            UsageError: what the member refuses.
            PluginError: it fails to build.
        """
        assert self.entry is not None
        return create(self.entry, {**self.given, **options}, **filled)

    def prepare(self) -> None:
        """Find values for the options that have no default.

        Raises:
            UsageError: it refuses those that were tried.
        """
        self.default_case()

    def default_case(self, seed: int = 0) -> MemberCase:
        """The case in which nothing is set but what has no default."""
        refusal = None
        for required in self._required():
            case = self.case_type(self, required, seed)
            try:
                with random_numbers_kept():
                    case.create()
            except UsageError as error:
                refusal = error
            except ZooError:
                return case  # it fails, and laws are there to say so
            else:
                return case
        raise UsageError(f"{self.label} cannot be made: {refusal}; {self.hint}")

    def cases(self, law: Law, *, examples: int, seed: int) -> Iterator[MemberCase]:
        """The cases that a law looks at: the defaults, and each choice that is not one of them."""
        default = self.default_case(seed)
        for number in range(min(examples, law.limit or SEEDS)):
            yield self.case_type(self, default.options, seed + number)
        seen = seen_in(default)
        for option in self.free_options if law.varies else ():
            for choice, values in choices_of(option).items():
                if (option.name, choice) not in seen:
                    among = (self.case_type(self, {**default.options, option.name: value}, seed) for value in values)
                    yield from [case for case in among if case.builds and (case.works or not law.sane)][:1]


def search_member(law: Law, subject: MemberSubject, *, examples: int, seed: int) -> Search:
    """Look for a case that breaks a law. Random numbers stay as they were.

    Args:
        law: that may be broken.
        subject: what is checked.
        examples: at most so many cases with the options at their defaults.
        seed: of the first of them.
    """
    found = Search()
    for case in subject.cases(law, examples=examples, seed=seed):
        try:
            with random_numbers_kept():
                law.check(case)
        except NotApplicable as reason:
            found.silent = str(reason)
        except LawViolation as violation:
            found.breach = (case, f"{violation}{case.where}")
        except (Exception, SystemExit) as error:
            found.breach = (case, f"{format_error(error, subject)}{case.where}")
        else:
            found.looked_at += 1
            found.seen |= seen_in(case)
        if found.breach is not None:
            break
    return found
