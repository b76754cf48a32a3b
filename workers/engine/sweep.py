"""Sends again what was lost: wake-ups are no truth, rows are."""

from app.jobs.port import Jobs
from app.store.port import Store


def sweep(store: Store, jobs: Jobs, now: float) -> int:
    """Wakes every trial that nobody measures at `now` (seconds since the epoch) and every study that waits for nothing.

    Returns how many.
    """
    trials = store.stale_trials(now)
    studies = store.idle_studies()
    for trial in trials:
        jobs.send("measure_trial", trial)
    for study in studies:
        jobs.send("advance_study", study)
    return len(trials) + len(studies)
