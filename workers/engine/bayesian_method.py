"""`bayesian`: a small design, then batches where they promise most, proposed before the last one is in."""

from collections.abc import Sequence

from app.domain.budget import least_budget
from app.domain.study import MethodSpec, Study, StudySpec
from app.domain.trial import Trial
from surrogate.figures import hypervolume, reference_point
from workers.engine.arrays import stack_utilities
from workers.engine.merges import fitted_trials
from workers.engine.stages import OPEN, Await, Propose, Stage, Step, closing_step, open_trials, searched

# A process of scores or outputs is fitted to no fewer.
FEWEST_FITTED = 3


def next_step(study: Study, trials: Sequence[Trial]) -> Step:
    """The design, then a batch whenever fewer trials than one batch are open, until the budget is spent or nothing is gained.

    An extension spends what was added, and looks for gains afresh.
    """
    if not trials:
        return Propose(Stage.DESIGN)
    waiting = open_trials(trials)
    ready = not waiting or (len(waiting) < study.spec.method.batch and _can_fit(study.spec.method, trials))
    if ready and _goes_on(study, trials):
        return Propose(Stage.ADAPTIVE)
    return Await(waiting) if waiting else closing_step(study.spec, trials)


def _can_fit(method: MethodSpec, trials: Sequence[Trial]) -> bool:
    needed = least_budget(method, len(trials[0].proposal.coefficients)) if method.surrogate == "quadratic" else FEWEST_FITTED
    return len(fitted_trials(trials)) >= needed


def _goes_on(study: Study, trials: Sequence[Trial]) -> bool:
    current = _since_extension(study, trials)
    if any(trial.proposal.split == "report" for trial in current) or len(searched(trials)) >= study.spec.method.budget:
        return False
    return not converged(study.spec, trials, _batches(study.spec.method, current))


def _since_extension(study: Study, trials: Sequence[Trial]) -> Sequence[Trial]:
    """Trials of the current revision: every one before it ended with reports."""
    if study.revision == 0:
        return trials
    splits = [trial.proposal.split for trial in trials]
    begins = [place for place in range(1, len(splits)) if splits[place - 1] == "report" and splits[place] == "search"]
    return trials[begins[study.revision - 1] :] if len(begins) >= study.revision else ()


def _batches(method: MethodSpec, trials: Sequence[Trial]) -> list[Sequence[Trial]]:
    """The adaptive trials, batch after batch, as far as all trials of a batch are over."""
    adaptive = [trial for trial in trials if trial.proposal.origin == "adaptive" and trial.proposal.split == "search"]
    whole = [adaptive[first : first + method.batch] for first in range(0, len(adaptive) - method.batch + 1, method.batch)]
    over = [not any(trial.status in OPEN for trial in batch) for batch in whole]
    return list(whole[: over.index(False)] if False in over else whole)


def converged(spec: StudySpec, trials: Sequence[Trial], batches: Sequence[Sequence[Trial]]) -> bool:
    """Whether `patience` batches in a row each added less than the share `tolerance` to the hypervolume of what was measured before.

    It stays so, whatever later batches bring: a study that has begun to close does not search on.
    """
    poor = 0
    for batch in batches if len(batches) >= spec.method.patience else ():
        before, after = (_volume(spec, trials, number) for number in (batch[0].number, batch[-1].number + 1))
        poor = poor + 1 if after - before < spec.method.tolerance * after else 0
        if poor == spec.method.patience:
            return True
    return False


def _volume(spec: StudySpec, trials: Sequence[Trial], end: int) -> float:
    """Hypervolume of what was measured before number `end`, from the worst of the design."""
    measured = fitted_trials(trials)
    design = [trial.scores for trial in measured if trial.proposal.origin == "design"]
    known = [trial.scores for trial in measured if trial.number < end]
    if not design or not known:
        return 0.0
    return hypervolume(stack_utilities(spec, known), reference_point(stack_utilities(spec, design)))
