"""`map` (arXiv 2406.07529): one design, one fit, one amortised front."""

from collections.abc import Sequence

from app.domain.study import Study
from app.domain.trial import Trial
from workers.engine.stages import Await, Propose, Stage, Step, closing_step, open_trials, searched


def next_step(study: Study, trials: Sequence[Trial]) -> Step:
    """The whole design at once, then the closing stages; one batch after the other. An extension continues the design."""
    if not trials:
        return Propose(Stage.DESIGN)
    waiting = open_trials(trials)
    if waiting:
        return Await(waiting)
    if study.revision and len(searched(trials)) < study.spec.method.budget:
        return Propose(Stage.DESIGN)
    return closing_step(study.spec, trials)
