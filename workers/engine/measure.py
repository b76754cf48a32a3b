"""Measures one trial under a lease."""

import logging
import math
import time
from collections.abc import Mapping
from contextlib import suppress

from torch import Tensor

from app.domain.errors import MeasurementError, StaleLeaseError, UnavailableError
from app.domain.study import Failure, Study, StudySpec, StudyStatus
from app.domain.task import TaskSpec
from app.domain.trial import ATTEMPTS_EXHAUSTED, Lease, Measurement, Trial
from workers.engine.arrays import Scores, pack_outputs
from workers.engine.failures import STUDY_FAULTS, fail_study
from workers.engine.lease import Heartbeat
from workers.engine.plan import plan
from workers.engine.stages import Propose, open_trials
from workers.engine.workshop import Workshop
from workers.evaluators.protocol import Evaluator

log = logging.getLogger(__name__)


def measure(workshop: Workshop, trial_id: str) -> None:
    """Measures a trial that waits, writes down its scores or why there are none, and wakes its study when its next step is due.

    Does nothing for a trial that somebody else measures or has measured. What is not foreseen comes out as it is and leaves the
    lease to run out: the attempt counts, and the third one fails the trial.
    """
    lease = workshop.store.claim(trial_id, workshop.owner, workshop.lease_seconds, workshop.clock())
    trial = workshop.store.trial(trial_id)
    study = workshop.store.study(trial.study_id)
    if lease is not None:
        _measure_claimed(workshop, study, trial, lease)
    # a wake-up too many must not become another one: they would multiply from stage to stage
    if lease is not None or _exhausted(trial):
        _wake_when_due(workshop, study.id)


def _measure_claimed(workshop: Workshop, study: Study, trial: Trial, lease: Lease) -> None:
    try:
        with workshop.guard(lease), Heartbeat(workshop, lease) as heartbeat:
            outcome = _outcome(workshop, study, trial)
    except STUDY_FAULTS as error:
        _hand_back(workshop, lease)
        fail_study(workshop.store, study.id, error)
    except (UnavailableError, KeyboardInterrupt, SystemExit):
        # nothing is wrong with the trial: the attempt must not count
        _hand_back(workshop, lease)
        raise
    else:
        if not heartbeat.lost:
            _record(workshop, lease, outcome)


def _outcome(workshop: Workshop, study: Study, trial: Trial) -> Measurement | Failure:
    evaluator = workshop.evaluator_of(study)
    try:
        return _measurement(workshop, study.spec, trial, evaluator)
    except MeasurementError as error:
        return Failure(error.code, str(error))


def _measurement(workshop: Workshop, spec: StudySpec, trial: Trial, evaluator: Evaluator) -> Measurement:
    started = time.perf_counter()
    evaluation = evaluator.evaluate(trial.proposal)
    seconds = time.perf_counter() - started
    scores = {task.name: _checked(task, evaluation.scores) for task in spec.tasks_here if trial.proposal.measures(task.name)}
    # outputs on the report split would let a surrogate see what no choice may see
    outputs = evaluation.outputs if trial.proposal.split == "search" else {}
    return Measurement(scores, _store_outputs(workshop, outputs), seconds)


def _checked(task: TaskSpec, scores: Scores) -> float:
    """The score of `task`. Raises MeasurementError when it is missing, not finite or out of the metric's bounds."""
    metric, score = task.measure, scores.get(task.name, math.nan)
    low, high = (-math.inf if metric.low is None else metric.low), (math.inf if metric.high is None else metric.high)
    if not math.isfinite(score) or not low <= score <= high:
        raise MeasurementError(f"{task.name}: {metric.name} came out as {score}, expected a number in [{low:g}, {high:g}]")
    return score


def _store_outputs(workshop: Workshop, outputs: Mapping[str, Tensor]) -> dict[str, str]:
    return {task: workshop.blobs.put(pack_outputs(tensor)) for task, tensor in outputs.items()}


def _record(workshop: Workshop, lease: Lease, outcome: Measurement | Failure) -> None:
    try:
        if isinstance(outcome, Failure):
            workshop.store.record_failure(lease, outcome)
        else:
            workshop.store.record(lease, outcome)
    except StaleLeaseError as error:
        log.warning("trial %s: the result came too late: %s", lease.trial_id, error)


def _hand_back(workshop: Workshop, lease: Lease) -> None:
    with suppress(StaleLeaseError):  # then it is no longer ours to hand back
        workshop.store.release(lease)


def _exhausted(trial: Trial) -> bool:
    """Whether the claim itself may have ended the trial, and with it the last that its study waits for."""
    return trial.failure is not None and trial.failure.code == ATTEMPTS_EXHAUSTED


def _wake_when_due(workshop: Workshop, study_id: str) -> None:
    """Once no trial is open, or as soon as the next batch is due beside open ones."""
    study = workshop.store.study(study_id)
    if study.status != StudyStatus.RUNNING:
        return
    trials = workshop.store.trials(study_id)
    if not open_trials(trials) or isinstance(plan(study, trials), Propose):
        workshop.jobs.send("advance_study", study_id)
