"""`nested` (arXiv 2406.07529, §4): pairs of models are merged level by level, each pair by a search of two coefficients."""

from collections.abc import Sequence

from app.domain.study import Study, StudySpec
from app.domain.trial import Trial
from workers.engine.stages import Await, Propose, Stage, Step, closing_step, open_trials


def next_step(study: Study, trials: Sequence[Trial]) -> Step:
    """The tuned models alone, then the pairs of one level after the other, all pairs of a level at once, then the closing stages.

    What the levels lead to is always verified: these points are the front. More budget changes no level that is done.
    """
    if not trials:
        return Propose(Stage.DESIGN)
    waiting = open_trials(trials)
    if waiting:
        return Await(waiting)
    if levels_done(trials) < levels(study.spec):
        return Propose(Stage.LEVEL)
    verified = any(trial.proposal.origin == "verify" for trial in trials)
    return closing_step(study.spec, trials) if verified else Propose(Stage.VERIFY)


def levels(spec: StudySpec) -> int:
    """⌈log2 N⌉."""
    return (len(spec.models.tuned) - 1).bit_length()


def levels_done(trials: Sequence[Trial]) -> int:
    return max(map(level_of, trials), default=0)


def level_of(trial: Trial) -> int:
    """The level that a trial was proposed for, counted from 1; 0 for those that belong to none."""
    return int(trial.proposal.label.removeprefix("level ")) if trial.proposal.origin == "adaptive" else 0


def level_label(level: int) -> str:
    return f"level {level}"
