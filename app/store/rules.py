"""What may happen to studies, trials and leases, decided purely: every adapter loads, asks here, and writes the answer down."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from app.domain.errors import ConflictError, StaleLeaseError
from app.domain.ids import new_id
from app.domain.study import Failure, Study, StudySpec, StudyStatus, check_study_step
from app.domain.trial import ATTEMPTS_EXHAUSTED, MAX_ATTEMPTS, Lease, Measurement, Proposal, Trial, TrialStatus, check_trial_step

OPEN = (TrialStatus.PROPOSED, TrialStatus.MEASURING, TrialStatus.OFFERED, TrialStatus.ASKED)
LEASED = (TrialStatus.MEASURING, TrialStatus.ASKED)


@dataclass(frozen=True)
class LeasedTrial:
    """A trial with its lease. `token`: that of the newest claim, 0 before the first; `until`: when it runs out, if somebody has it now."""

    trial: Trial
    token: int = 0
    owner: str = ""
    until: float | None = None

    @property
    def open(self) -> bool:
        return self.trial.status in OPEN

    @property
    def lease(self) -> Lease | None:
        return None if self.until is None else Lease(self.trial.id, self.owner, self.token, self.until)

    @property
    def worn_out(self) -> bool:
        return self.trial.attempts >= MAX_ATTEMPTS

    def claimable(self, now: float) -> bool:
        """Whether a worker may take it, or has to lay it to rest."""
        if self.trial.status is TrialStatus.ASKED and not self.worn_out:
            return False
        return self.trial.status is TrialStatus.PROPOSED or self._abandoned(now)

    def askable(self, now: float) -> bool:
        """Whether an external evaluator may have it."""
        return self.trial.status is TrialStatus.OFFERED or (self.trial.status is TrialStatus.ASKED and self._abandoned(now))

    def _abandoned(self, now: float) -> bool:
        return self.until is not None and self.until < now


@dataclass(frozen=True)
class Happening:
    """An event to be: what happened, without its number and time."""

    kind: str
    data: dict[str, object]


def utc_now() -> datetime:
    return datetime.now(UTC)


def check_proposable(study: Study, held: int, first: int) -> None:
    """Raises ConflictError unless the study runs and holds exactly `first` trials."""
    if study.status is not StudyStatus.RUNNING:
        raise ConflictError(f"study {study.id} is {study.status}: only a running study takes trials")
    if held != first:
        raise ConflictError(f"study {study.id} holds {held} trials, not {first}: read its trials again and plan anew")


def pair_study(study: Study, pairing: str) -> Study:
    """The study with its pairing: the first that is noted stays."""
    return study if study.pairing else replace(study, pairing=pairing)


def number_trials(study: Study, first: int, proposals: Sequence[Proposal]) -> tuple[Trial, ...]:
    return tuple(
        Trial(new_id("trial"), study.id, first + place, proposal, _first_status(study.spec, proposal))
        for place, proposal in enumerate(proposals)
    )


def _first_status(spec: StudySpec, proposal: Proposal) -> TrialStatus:
    here = any(proposal.measures(task.name) for task in spec.tasks_here)
    elsewhere = any(proposal.measures(task.name) for task in spec.tasks_elsewhere)
    return TrialStatus.OFFERED if elsewhere and not here else TrialStatus.PROPOSED


def step_study(study: Study, then: StudyStatus, failure: Failure | None, at: datetime) -> Study:
    """The study after a step that leaves no front. Raises ConflictError."""
    if then in (StudyStatus.FINISHED, StudyStatus.SUBMITTED):
        raise ConflictError(f"study {study.id}: it becomes {then} with its front or its budget, in one step: finish, extend")
    if (then is StudyStatus.FAILED) != (failure is not None):
        raise ConflictError(f"study {study.id}: a failure goes with the step to failed, and with no other")
    check_study_step(study.status, then)
    return replace(study, status=then, failure=failure, updated=at)


def finish_study(study: Study, has_front: bool, at: datetime) -> Study:
    """The study once its front is written. `has_front`: its revision has one already. Raises ConflictError."""
    if study.status is StudyStatus.CANCELLED:
        _check_endless(study, has_front)
        return replace(study, updated=at)
    check_study_step(study.status, StudyStatus.FINISHED)
    return replace(study, status=StudyStatus.FINISHED, updated=at)


def forgo_front(study: Study, has_front: bool, failure: Failure, at: datetime) -> Study:
    """The cancelled study without a front. Raises ConflictError."""
    if study.status is not StudyStatus.CANCELLED:
        raise ConflictError(f"study {study.id} is {study.status}: only a cancelled study can do without a front")
    _check_endless(study, has_front)
    return replace(study, failure=failure, updated=at)


def extend_study(study: Study, spec: StudySpec, at: datetime) -> Study:
    """The study submitted again. Raises ConflictError."""
    check_study_step(study.status, StudyStatus.SUBMITTED)
    return replace(study, spec=spec, status=StudyStatus.SUBMITTED, revision=study.revision + 1, updated=at)


def _check_endless(study: Study, has_front: bool) -> None:
    if has_front or study.failure is not None:
        raise ConflictError(f"study {study.id} was {study.status} and has its end already")


def ended(study: Study) -> bool:
    return study.status not in (StudyStatus.SUBMITTED, StudyStatus.RUNNING)


def withdraw(leased: LeasedTrial, study: Study) -> LeasedTrial:
    """An open trial of a study that has ended."""
    reason = Failure("study_ended", f"the study was {study.status} before this trial was measured")
    return _become(leased, TrialStatus.FAILED, failure=reason)


def claim(leased: LeasedTrial, owner: str, seconds: float, now: float) -> LeasedTrial | None:
    """The trial as a worker claims it, or as failed where its attempts are used up; None where there is nothing to claim."""
    return _take(leased, TrialStatus.MEASURING, owner, now + seconds) if leased.claimable(now) else None


def ask(leased: LeasedTrial, owner: str, seconds: float, now: float) -> LeasedTrial | None:
    """The same for an external evaluator."""
    return _take(leased, TrialStatus.ASKED, owner, now + seconds) if leased.askable(now) else None


def _take(leased: LeasedTrial, then: TrialStatus, owner: str, until: float) -> LeasedTrial:
    if leased.worn_out:
        return _become(leased, TrialStatus.FAILED, failure=_exhausted(leased))
    taken = replace(leased.trial, status=then, attempts=leased.trial.attempts + 1)
    return LeasedTrial(taken, leased.token + 1, owner, until)


def renew(leased: LeasedTrial, lease: Lease, seconds: float, now: float) -> Lease:
    _check_current(leased, lease)
    return replace(lease, until=now + seconds)


def release(leased: LeasedTrial, lease: Lease) -> LeasedTrial:
    _check_current(leased, lease)
    before = TrialStatus.OFFERED if leased.trial.status is TrialStatus.ASKED else TrialStatus.PROPOSED
    return _become(leased, before, attempts=leased.trial.attempts - 1)


def record(leased: LeasedTrial, lease: Lease, measurement: Measurement, spec: StudySpec) -> LeasedTrial:
    """The trial with what was measured: finished, or offered to external evaluators while scores of theirs are missing."""
    _check_current(leased, lease)
    trial = leased.trial
    scores = {**trial.scores, **measurement.scores}
    found = {
        "scores": scores,
        "outputs": {**trial.outputs, **measurement.outputs},
        "seconds": (trial.seconds or 0.0) + measurement.seconds,
    }
    if any(trial.proposal.measures(task.name) and task.name not in scores for task in spec.tasks_elsewhere):
        return _become(leased, TrialStatus.OFFERED, attempts=0, **found)
    return _become(leased, TrialStatus.FINISHED, **found)


def record_failure(leased: LeasedTrial, lease: Lease, failure: Failure) -> LeasedTrial:
    _check_current(leased, lease)
    return _become(leased, TrialStatus.FAILED, failure=failure)


def front_happening(study: Study) -> Happening:
    """A cancelled study has got its front, or the reason why there is none."""
    return Happening("study.front", {"revision": study.revision, **_described(study.failure)})


def study_happening(study: Study) -> Happening:
    return Happening(f"study.{study.status}", _described(study.failure))


def proposed_happening(trials: Sequence[Trial]) -> Happening:
    return Happening("trials.proposed", {"first": trials[0].number, "count": len(trials)})


def trial_happening(trial: Trial) -> Happening:
    data: dict[str, object] = {"trial": trial.id, "number": trial.number, "attempts": trial.attempts, **_described(trial.failure)}
    if trial.status is TrialStatus.FINISHED:
        data["scores"] = dict(trial.scores)
    return Happening(f"trial.{trial.status}", data)


def _become(leased: LeasedTrial, then: TrialStatus, **changes: Any) -> LeasedTrial:
    check_trial_step(leased.trial.status, then)
    return replace(leased, trial=replace(leased.trial, status=then, **changes), until=None)


def _check_current(leased: LeasedTrial, lease: Lease) -> None:
    """Whoever holds a lease writes only while its token is the newest and the trial is still being measured."""
    if leased.token != lease.token:
        raise StaleLeaseError(f"trial {lease.trial_id}: token {lease.token} is no longer current, {leased.token} is; drop this work")
    if leased.trial.status not in LEASED:
        raise StaleLeaseError(f"trial {lease.trial_id} is {leased.trial.status}, no longer measured; drop this work")


def _exhausted(leased: LeasedTrial) -> Failure:
    message = f"begun {leased.trial.attempts} times and never completed: everybody who had it stopped without a word, {leased.owner} last"
    return Failure(ATTEMPTS_EXHAUSTED, message)


def _described(failure: Failure | None) -> dict[str, object]:
    return {} if failure is None else {"code": failure.code, "message": failure.message}
