"""Use cases of external evaluators, who ask for trials and tell what they scored."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.actions.studies import wake
from app.domain.errors import Fault, NotFoundError, RefusedError, StaleLeaseError
from app.domain.study import Failure, Study, StudyStatus
from app.domain.task import ExternalTask
from app.domain.trial import Lease, Measurement, Trial, TrialStatus
from app.jobs.port import Jobs
from app.store.port import Store

_OVER = frozenset({TrialStatus.FINISHED, TrialStatus.FAILED})


@dataclass(frozen=True)
class AskedTrial:
    """A trial with the lease under which an external evaluator scores `tasks`."""

    trial: Trial
    lease: Lease
    tasks: tuple[ExternalTask, ...]


@dataclass(frozen=True)
class Errand:
    """A trial of a study, and what an external evaluator has to say of it: `lease` holds its token."""

    study: Study
    trial: Trial
    lease: Lease


def ask_trials(store: Store, jobs: Jobs, study: Study, owner: str, count: int, seconds: float, now: float) -> tuple[AskedTrial, ...]:
    """Up to `count` trials of the study that nobody has, by number, each leased to `owner` for `seconds`; none where none waits."""
    leases = store.ask(study.id, owner, count, seconds, now)
    if len(leases) < count:
        # trials whose last attempt ran out have just failed: they may have been the last that were open
        _wake_when_due(store, jobs, study)
    return tuple(_asked(study, store.trial(lease.trial_id), lease) for lease in leases)


def find_errand(store: Store, tenant: str, trial_id: str, token: int) -> Errand:
    """Raises NotFoundError, also for another tenant's."""
    trial = store.trial(trial_id)
    study = store.study(trial.study_id)
    if study.tenant != tenant:
        raise NotFoundError(f"no trial {trial_id}")
    return Errand(study, trial, Lease(trial_id, "", token, 0.0))


def prolong(store: Store, errand: Errand, seconds: float, now: float) -> Lease:
    """The lease, valid for `seconds` from `now`. Raises StaleLeaseError where it is lost: drop the work."""
    _check_asked(errand)
    return store.renew(errand.lease, seconds, now)


def tell_scores(store: Store, jobs: Jobs, errand: Errand, scores: Mapping[str, float], seconds: float) -> Trial:
    """The trial with its external half. The first result wins; the same one told again is answered alike.

    Raises RefusedError for scores that are missing, too many or out of bounds; StaleLeaseError where the lease is lost.
    """
    tasks = _tasks(errand.study, errand.trial)
    faults = [*_unknown(tasks, scores), *(fault for task in tasks for fault in _score_faults(task, scores))]
    if faults:
        raise RefusedError(faults)
    if errand.trial.status is TrialStatus.FINISHED and scores.items() <= errand.trial.scores.items():
        return errand.trial
    _check_asked(errand)
    told = store.record(errand.lease, Measurement(dict(scores), {}, seconds))
    _wake_when_due(store, jobs, errand.study)
    return told


def tell_failure(store: Store, jobs: Jobs, errand: Errand, reason: str) -> Trial:
    """The trial, failed for good: to have it asked for again, let its lease run out. Raises StaleLeaseError."""
    failure = Failure("external", reason)
    if errand.trial.failure == failure:
        return errand.trial
    _check_asked(errand)
    told = store.record_failure(errand.lease, failure)
    _wake_when_due(store, jobs, errand.study)
    return told


def _asked(study: Study, trial: Trial, lease: Lease) -> AskedTrial:
    return AskedTrial(trial, lease, _tasks(study, trial))


def _tasks(study: Study, trial: Trial) -> tuple[ExternalTask, ...]:
    return tuple(task for task in study.spec.tasks_elsewhere if trial.proposal.measures(task.name))


def _check_asked(errand: Errand) -> None:
    # a worker's token is as easily guessed as an evaluator's, and a trial never goes back from evaluators to workers
    if errand.trial.status is not TrialStatus.ASKED:
        raise StaleLeaseError(f"trial {errand.trial.id} is {errand.trial.status}, no external evaluator has it; drop this work")


def _unknown(tasks: tuple[ExternalTask, ...], scores: Mapping[str, float]) -> Iterator[Fault]:
    names = [task.name for task in tasks]
    for name in sorted(scores.keys() - set(names)):
        yield Fault(f"scores.{name}", f"not asked for: this trial wants {', '.join(names) or 'nothing'}")


def _score_faults(task: ExternalTask, scores: Mapping[str, float]) -> Iterator[Fault]:
    where = f"scores.{task.name}"
    if task.name not in scores:
        yield Fault(where, "required, but missing")
        return
    low, high = (-math.inf if task.low is None else task.low), (math.inf if task.high is None else task.high)
    if not math.isfinite(scores[task.name]) or not low <= scores[task.name] <= high:
        yield Fault(where, f"{task.metric} is {scores[task.name]}, expected a number in [{low:g}, {high:g}]")


def _wake_when_due(store: Store, jobs: Jobs, study: Study) -> None:
    """Once no trial is open, and after every trial where the next batch may be due beside open ones."""
    current = store.study(study.id)
    counts = store.trial_counts(study.id)
    waiting = sum(count for status, count in counts.items() if status not in _OVER)
    if current.status is StudyStatus.RUNNING and (not waiting or current.spec.method.name == "bayesian"):
        wake(jobs, current)
