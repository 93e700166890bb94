"""A comparison from beginning to end: started, or resumed."""

from pathlib import Path

from zoo.errors import UsageError
from zoo.executor import Executor
from zoo.lab.compare.folder import Folder
from zoo.lab.compare.grid import Grid, GridInterrupted, GridListener
from zoo.lab.compare.plan import Plan
from zoo.lab.compare.planning import make_plan
from zoo.lab.compare.report import write_results
from zoo.lab.compare.request import Request, check_request
from zoo.lab.compare.results import Results, gather
from zoo.plugin.local import LOCAL
from zoo.train.shell import quote

__all__ = ["GridInterrupted", "create_comparison", "open_comparison", "plan_request", "run_comparison"]


def plan_request(request: Request) -> Plan:
    """What a request would do, without doing it."""
    check_request(request)
    return make_plan(request)


def create_comparison(
    request: Request, *, root: Path, out: Path | None = None, here: bool = False
) -> tuple[Plan, Folder]:
    """The plan and the folder of a comparison: new ones, or those of the same one that was started in `out`.

    Args:
        request: what is to be compared.
        root: the folder in which that of the comparison is made, unless `out` names it.
        out: the folder of the comparison.
        here: whether this process will make the runs, which knows what `zoo.register` has registered.

    Raises:
        UsageError: a request that cannot be, a member that only this process knows, or another comparison in `out`.
    """
    check_request(request)
    if out is not None and Folder.holds_one(out):
        plan, folder = open_comparison(out)
        if plan.command != request.command:
            raise UsageError(
                f"{out} holds another comparison ({plan.command}): choose another `out`, or resume that one: "
                f"zoo compare --resume {quote(str(out))}"
            )
        return plan, folder
    if out is not None:
        Folder.check_free(out)  # before the search for sizes, which takes a while
    plan = make_plan(request)
    if not here:
        _check_known_to_all(plan)
    return plan, Folder.create(plan, root=root, out=out)


def open_comparison(path: Path) -> tuple[Plan, Folder]:
    """The plan and the folder of a comparison that was started.

    Raises:
        UsageError: there is none, or its plan is damaged.
    """
    if not Folder.holds_one(path):
        raise UsageError(f"{path} holds no comparison; `zoo compare` prints where it puts one")
    folder = Folder(path)
    return folder.plan, folder


def run_comparison(
    plan: Plan, folder: Folder, listener: GridListener | None = None, *, on: str | Executor | None = None
) -> Results:
    """Make the runs that are missing, and write what all of them say.

    Args:
        plan: of the comparison.
        folder: of the comparison.
        listener: is called as it goes.
        on: the executor that makes the runs, or its name with its options; None for that of the plan.

    Raises:
        GridInterrupted: Ctrl-C; every run was saved, and what there is was written.
        UsageError: another process is at work there.
    """
    with folder.lock():
        listener = listener or GridListener()
        grid = Grid(plan, folder, listener, on)
        try:
            grid.run()
        except GridInterrupted:
            ended = sum(outcome.is_over for outcome in grid.outcomes.values())
            write_results(gather(plan, folder), folder, incomplete=f"{ended} of {plan.runs} runs have ended")
            raise
        results = gather(plan, folder)
        write_results(results, folder)
        for plugin in results.changed:
            listener.notice(f"not all runs are of the same code: {plugin}")
        if results.machines.differ:
            listener.notice(f"not all machines were alike: {results.machines}")
        return results


def _check_known_to_all(plan: Plan) -> None:
    """Refuse what `zoo.register` has registered: each run has a process of its own, which knows nothing of it."""
    for recorded, plugin in plan.plugins.items():
        if plugin["distribution"] == LOCAL:
            place = f"./{Path(plugin['file']).name}" if "file" in plugin else "./mine.py"
            raise UsageError(
                f"{recorded} is registered in this process only, and every run of a comparison has its own: "
                f"name the class by its file, {place}:{plugin['class']}"
            )
