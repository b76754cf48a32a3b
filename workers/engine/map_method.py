"""`map` (arXiv 2406.07529): one design, one fit, one amortised front."""

from collections.abc import Sequence

from app.domain.study import StudySpec
from app.domain.trial import Trial
from workers.engine.stages import Await, Propose, Stage, Step, closing_step, open_trials


def next_step(spec: StudySpec, trials: Sequence[Trial]) -> Step:
    """The whole design at once, then the closing stages; one batch after the other."""
    if not trials:
        return Propose(Stage.DESIGN)
    waiting = open_trials(trials)
    return Await(waiting) if waiting else closing_step(spec, trials)
