"""Sends again what was lost: wake-ups are no truth, rows are."""

from workers.engine.workshop import Workshop


def sweep(workshop: Workshop) -> int:
    """Wakes every trial that nobody measures and every study that waits for nothing; returns how many."""
    trials = workshop.store.stale_trials(workshop.clock())
    studies = workshop.store.idle_studies()
    for trial in trials:
        workshop.jobs.send("measure_trial", trial)
    for study in studies:
        workshop.jobs.send("advance_study", study)
    return len(trials) + len(studies)
