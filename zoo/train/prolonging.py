"""Where a saved run is resumed, and what becomes of its learning rate where it is given a later last step."""

from zoo.errors import UsageError
from zoo.train.checkpoint import ASIDE, Checkpoint, load_checkpoint, set_aside
from zoo.train.listener import Listener
from zoo.train.optimizer import decay_begins, learning_rate
from zoo.train.run_directory import RunDirectory
from zoo.train.settings import Settings
from zoo.train.summary import Summary


def find_checkpoint(run: RunDirectory, settings: Settings, steps: int | None, listener: Listener) -> Checkpoint:
    """The newest sound checkpoint of a run, which is to be resumed.

    Args:
        run: as it was saved.
        settings: its own.
        steps: the last step that it is to have; None for that of its settings.
        listener: is called with what the user should know.

    Raises:
        UsageError: there is no sound checkpoint, or none that is early enough for so few steps.
    """
    checkpoint = load_checkpoint(run.checkpoints, device=settings.device)
    for rejected, reason in checkpoint.rejected:
        listener.notice(f"checkpoint {rejected.name} is damaged ({reason}): falling back to {checkpoint.path.name}")
        run.append_event("fell back", damaged=rejected.name, reason=reason, to=checkpoint.path.name)
    if steps is not None and steps < checkpoint.step:
        raise UsageError(f"the run has already made {checkpoint.step} steps; `steps`={steps} would go back")
    return checkpoint


def before_the_decay(
    run: RunDirectory, newest: Checkpoint, saved: Settings, settings: Settings, listener: Listener
) -> Checkpoint:
    """The checkpoint from which a run with a later last step is that of a run which had so many steps from its start.

    With the schedule ``wsd`` it is the last one from before the decay. The later ones are set aside. Where there is
    none, and with any other schedule, it is the newest.

    Args:
        run: as it was saved.
        newest: its newest sound checkpoint.
        saved: its own settings.
        settings: the same with another last step.
        listener: is called with what the user should know.
    """
    begin = decay_begins(saved)
    if begin is None or settings.steps <= saved.steps or newest.step <= begin:
        return newest
    try:
        earlier = load_checkpoint(run.checkpoints, device=settings.device, up_to=begin)
    except UsageError:
        return newest
    if earlier.step == 0:
        return newest  # nothing would be left of what was trained
    set_aside(run.checkpoints, earlier.step)
    listener.notice(
        f"going back to step {earlier.step:,}, from where the learning rate does not fall yet; the checkpoint of step "
        f"{newest.step:,} is kept as {newest.path.name}{ASIDE}"
    )
    run.append_event("went back", step=earlier.step, before=newest.step)
    return earlier


def report_rise(run: RunDirectory, before: Settings, after: Settings, step: int, listener: Listener) -> None:
    """Say so where a later last step raises the learning rate, in a notice and an event."""
    if step == 0:
        return
    falling = max(learning_rate(before, step - 1), learning_rate(before, step))
    rising = learning_rate(after, step)
    if rising <= falling * (1 + 1e-9):
        return
    advice = "; with schedule=wsd a run can be prolonged without that" if before.schedule == "cosine" else ""
    listener.notice(
        f"the learning rate rises again, from {falling:.3g} to {rising:.3g}, because the last step is now "
        f"{after.steps:,} and was {before.steps:,}{advice}"
    )
    run.append_event("learning rate rises", step=step, before=falling, after=rising)


def find_finished(run: RunDirectory, steps: int | None) -> Summary | None:
    """The figures of a run that has made all its steps, and is whole; None if there is something left to do."""
    saved, config = run.summary, run.config
    last, wanted = config["steps"], config.get("stop_accuracy")
    if saved is None or steps not in (None, last):
        return None
    if saved.steps != last and not (wanted is not None and saved.validation_accuracy >= wanted):
        return None
    newest = load_checkpoint(run.checkpoints)
    return saved if newest.step == saved.steps and not newest.rejected else None
