"""The port of records: studies, trials, leases, fronts, events. The database is the queue of record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.domain.front import Front
from app.domain.study import Failure, Study, StudySpec, StudyStatus
from app.domain.trial import Lease, Measurement, Proposal, Trial, TrialStatus


@dataclass(frozen=True)
class Event:
    """Something that happened to a study; `number` counts from 1 without gaps within the study. `data`: plain JSON values.

    `kind`: `study.<status>`, `trial.<status>`, or `trials.proposed` (see app.store.rules).
    """

    study_id: str
    number: int
    kind: str
    data: dict[str, object]
    at: datetime


class Store(Protocol):
    """Every method is one transaction; what it returns is what is now true.

    NotFoundError for an unknown id everywhere. Every change of a study or trial appends its event in the same transaction.
    When a study ends, its open trials end with it: failed, code `study_ended`; so their workers learn it with the next heartbeat.
    RefusedError for values that JSON cannot hold (a score that is not finite), UnavailableError when the database cannot be reached.
    """

    def add_study(self, study: Study) -> None:
        """Raises ConflictError when the id exists, GoneError where something registered that it names was dropped: until the study has
        ended, nothing that it names can be.
        """

    def study(self, study_id: str) -> Study: ...

    def studies(self, after: str = "", limit: int = 100, tenant: str | None = None) -> tuple[Study, ...]:
        """In order of id, those after `after`; of one tenant, or of all."""

    def named_study(self, tenant: str, name: str) -> Study:
        """The newest of this name. Raises NotFoundError."""

    def study_counts(self) -> Mapping[StudyStatus, int]:
        """How many studies there are of every status that any has."""

    def step_study(self, study_id: str, then: StudyStatus, failure: Failure | None = None) -> Study:
        """Compare-and-set along STUDY_TRANSITIONS; `failure` goes with the step to failed and with no other.

        Raises ConflictError where the table does not allow the step, and for the steps to finished and to submitted: those are
        `finish` and `extend`.
        """

    def extend(self, study_id: str, spec: StudySpec) -> Study:
        """A finished study is submitted again, as its next revision. Raises ConflictError when it is not, GoneError as `add_study`."""

    def propose(self, study_id: str, first: int, proposals: Sequence[Proposal], pairing: str = "") -> tuple[Trial, ...]:
        """Adds trials numbered from `first`; `pairing` is the study's from now on, unless it has one.

        Raises ConflictError when the study does not hold exactly `first` trials or is not running.
        """

    def trial(self, trial_id: str) -> Trial: ...

    def trials(self, study_id: str) -> tuple[Trial, ...]:
        """All of a study, by number."""

    def trial_counts(self, study_id: str) -> Mapping[TrialStatus, int]:
        """How many trials of a study there are of every status that any has; empty for an unknown study."""

    def claim(self, trial_id: str, owner: str, seconds: float, now: float) -> Lease | None:
        """The right to measure a trial that is proposed, or whose lease ran out before `now` (seconds since the epoch).

        None when it is leased, finished, failed, or with external evaluators. A trial whose last allowed attempt ran out becomes failed
        (code `attempts_exhausted`), with external evaluators too, and None is returned: its study may now have no open trial, which the
        caller has to see to.
        """

    def ask(self, study_id: str, owner: str, count: int, seconds: float, now: float) -> tuple[Lease, ...]:
        """The right to evaluate, outside the service, up to `count` trials of a study, by number: those offered, and those whose lease ran
        out before `now` (seconds since the epoch); what `claim` says of the last allowed attempt holds.
        """

    def lease(self, trial_id: str) -> Lease | None:
        """The lease under which the trial is measured, here or elsewhere, run out or not; None for one that is not measured."""

    def renew(self, lease: Lease, seconds: float, now: float) -> Lease:
        """A heartbeat. Raises StaleLeaseError when the token is no longer the current one."""

    def release(self, lease: Lease) -> None:
        """Hands the trial back unmeasured; the attempt does not count. Raises StaleLeaseError."""

    def record(self, lease: Lease, measurement: Measurement) -> Trial:
        """First result wins. Where scores of external evaluators are missing still, the trial is offered to them; else it is finished.

        Raises StaleLeaseError.
        """

    def record_failure(self, lease: Lease, failure: Failure) -> Trial:
        """Raises StaleLeaseError."""

    def stale_trials(self, now: float, limit: int = 100) -> tuple[str, ...]:
        """Ids of trials that are proposed, or whose lease ran out before `now`, oldest study first: what a sweeper sends again.

        Of those with external evaluators only the ones whose last allowed attempt ran out: the others are asked for again.
        """

    def idle_studies(self, limit: int = 100) -> tuple[str, ...]:
        """Ids of studies that only an advance can move, oldest first: submitted, running with no open trial, or cancelled and as
        yet with neither front nor the reason why there is none.
        """

    def finish(self, front: Front) -> Study:
        """Writes the front and finishes its study in one transaction; a cancelled study keeps the front and stays cancelled.

        Raises ConflictError when the study is neither running, nor cancelled and without an end (`failure`, or a front).
        """

    def forgo_front(self, study_id: str, failure: Failure) -> Study:
        """Notes why a cancelled study has no front. Raises ConflictError when it is not cancelled, or has its end."""

    def front(self, study_id: str) -> Front:
        """That of the newest revision which has one. Raises NotFoundError while there is none."""

    def events(self, study_id: str, after: int = 0, limit: int = 1000) -> tuple[Event, ...]:
        """In order of number, those after `after`."""

    def close(self) -> None:
        """Gives connections back; the store is not used afterwards."""
