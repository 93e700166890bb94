"""On what machines the runs of a comparison were made, which decides their last digits."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import ZooError
from zoo.train.run_directory import RunDirectory


@dataclass(frozen=True, order=True)
class Machine:
    """What the digits of a run may depend on.

    Attributes:
        cpu: its name, and which of its instructions torch uses.
        device: where the run was trained, with its name.
        threads: of the CPU.
        torch: its version.
    """

    cpu: str
    device: str
    threads: int
    torch: str

    def __str__(self) -> str:
        threads = f"{self.threads} threads" if self.threads != 1 else "1 thread"
        return f"{self.cpu}, device {self.device}, {threads}, torch {self.torch}"


@dataclass(frozen=True)
class Machines:
    """The kinds of machines, with how many runs were started on each, and on how many hosts.

    Attributes:
        resumed: runs that were resumed on another host than they were started on.
    """

    kinds: tuple[tuple[Machine, int, int], ...] = ()
    resumed: int = 0

    @property
    def differ(self) -> bool:
        """Whether digits may differ for that reason."""
        return len(self.kinds) > 1

    def __str__(self) -> str:
        made = ", ".join(
            f"{kind} ({_count(runs, 'run')} on {_count(hosts, 'host')})" for kind, runs, hosts in self.kinds
        )
        moved = f"; {_count(self.resumed, 'run')} moved to another host" if self.resumed else ""
        return f"the runs were made with {made}{moved}: the last digits may differ for that reason alone"


def machines_of(runs: Iterable[Path]) -> Machines:
    """What the folders of runs say about it; one that is missing or damaged says nothing."""
    counts, hosts, resumed = Counter[Machine](), defaultdict[Machine, set[str]](set), 0
    for path in runs:
        with suppress(ZooError, KeyError, TypeError, AttributeError):
            run = RunDirectory(path)
            saved = run.environment
            cpu = f"{saved['cpu']['name']} ({saved['cpu']['capability']})"
            machine = Machine(cpu, str(saved["device"]), int(saved["threads"]["intra_op"]), str(saved["torch"]))
            counts[machine] += 1
            host = saved.get("host", "")
            hosts[machine].add(host)
            resumed += any(event.get("host", host) != host for event in run.events())
    return Machines(tuple((kind, count, len(hosts[kind])) for kind, count in sorted(counts.items())), resumed)


def _count(number: int, what: str) -> str:
    return f"{number} {what}s" if number != 1 else f"1 {what}"
