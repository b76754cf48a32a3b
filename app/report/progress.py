"""How the measured front grew with the evaluations that were spent."""

from collections.abc import Sequence

from app.domain.front import Front
from app.domain.study import Study
from app.domain.trial import Trial, TrialStatus

_STEPS = 40


def hypervolume_progress(study: Study, trials: Sequence[Trial], front: Front) -> list[tuple[int, float]]:
    """Number of search evaluations spent, and the hypervolume of their measured scores as a share of the last; baselines do not count.

    At most 40 steps. Empty where the reference point does not cover every task or nothing beats it.
    """
    rows = _turned_scores(study, trials, front)
    reference = [_sign(study, task) * front.figures.reference[task] for task in front.tasks if task in front.figures.reference]
    if not rows or len(reference) < len(front.tasks):
        return []
    counts = sorted({max(1, round(len(rows) * step / _STEPS)) for step in range(1, _STEPS + 1)})
    volumes = [_hypervolume(rows[:count], reference) for count in counts]
    if volumes[-1] <= 0:
        return []
    return [(count, volume / volumes[-1]) for count, volume in zip(counts, volumes, strict=True)]


def _turned_scores(study: Study, trials: Sequence[Trial], front: Front) -> list[list[float]]:
    """Scores of the finished search trials in order, one row each, turned so that larger is better."""
    counted = [
        trial
        for trial in sorted(trials, key=lambda trial: trial.number)
        if trial.status is TrialStatus.FINISHED and trial.proposal.split == "search" and trial.proposal.origin != "baseline"
    ]
    return [[_sign(study, task) * trial.scores[task] for task in front.tasks] for trial in counted]


def _sign(study: Study, task: str) -> float:
    return next(1.0 if found.measure.maximize else -1.0 for found in study.spec.tasks if found.name == task)


def _hypervolume(rows: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    import moocore
    import numpy as np

    return float(moocore.hypervolume(np.array(rows), ref=np.array(reference), maximise=True))
