"""One study, held for the length of a writing transaction: whatever changes in it is written here, with its event."""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection, exists, func, insert, select, update

from app.domain.errors import NotFoundError
from app.domain.front import Front
from app.domain.study import Study, StudySpec
from app.domain.trial import Lease, Trial, TrialStatus
from app.store import custody, rules, tables
from app.store.codec import encode
from app.store.port import Event
from app.store.rows import event_row, leased_of, study_of, study_row, trial_row
from app.store.rules import Happening, LeasedTrial


class Ledger:
    """Holds the study's row, so that nobody else changes the study or its trials until the transaction ends. Raises NotFoundError."""

    def __init__(self, connection: Connection, study_id: str, clock: Callable[[], datetime]) -> None:
        held = connection.execute(select(tables.studies).where(tables.studies.c.id == study_id).with_for_update()).one_or_none()
        if held is None:
            raise NotFoundError(f"no study {study_id}")
        self._connection = connection
        self.study = study_of(held)
        # asked once the row is held: the times of a study's events follow their numbers
        self.at = clock()

    def trial_count(self) -> int:
        return self._connection.scalar(select(func.count()).where(tables.trials.c.study_id == self.study.id)) or 0

    def keep_registered(self, spec: StudySpec) -> None:
        """Keeps what the spec names from being dropped meanwhile. Raises GoneError."""
        custody.lock_registered(self._connection, self.study.tenant, spec.registered)

    def trial(self, trial_id: str) -> LeasedTrial:
        return leased_of(self._connection.execute(select(tables.trials).where(tables.trials.c.id == trial_id)).one())

    def put_study(self, study: Study) -> Study:
        """Writes a step; where the study ends with it, its open trials end too."""
        self._write_study(study)
        if rules.ended(study):
            for leased in self._trials_of(*rules.OPEN):
                self.put_trial(rules.withdraw(leased, study))
        self.append(rules.study_happening(study))
        return study

    def put_trial(self, leased: LeasedTrial) -> Trial:
        self._connection.execute(update(tables.trials).where(tables.trials.c.id == leased.trial.id).values(trial_row(leased)))
        self.append(rules.trial_happening(leased.trial))
        return leased.trial

    def put_lease(self, lease: Lease) -> None:
        """Writes a heartbeat, which is no event."""
        self._connection.execute(update(tables.trials).where(tables.trials.c.id == lease.trial_id).values(until=lease.until))

    def pair(self, study: Study) -> None:
        """Writes its pairing, which is no event."""
        self._connection.execute(update(tables.studies).where(tables.studies.c.id == study.id).values(pairing=study.pairing))

    def add_trials(self, trials: Sequence[Trial]) -> None:
        self._connection.execute(insert(tables.trials), [trial_row(LeasedTrial(trial)) for trial in trials])
        self.append(rules.proposed_happening(trials))

    def add_front(self, front: Front) -> None:
        row = {"study_id": front.study_id, "revision": self.study.revision, "front": encode(front)}
        self._connection.execute(insert(tables.fronts).values(row))

    def has_front(self) -> bool:
        held = exists().where(tables.fronts.c.study_id == self.study.id, tables.fronts.c.revision == self.study.revision)
        return bool(self._connection.scalar(select(held)))

    def put_end(self, study: Study) -> Study:
        """Writes what became of a cancelled study's front."""
        self._write_study(study)
        self.append(rules.front_happening(study))
        return study

    def append(self, happening: Happening) -> None:
        newest = self._connection.scalar(select(func.max(tables.events.c.number)).where(tables.events.c.study_id == self.study.id))
        event = Event(self.study.id, (newest or 0) + 1, happening.kind, happening.data, self.at)
        self._connection.execute(insert(tables.events).values(event_row(event)))
        self._connection.execute(update(tables.studies).where(tables.studies.c.id == self.study.id).values(updated=self.at))

    def _write_study(self, study: Study) -> None:
        self._connection.execute(update(tables.studies).where(tables.studies.c.id == study.id).values(study_row(study)))

    def trials_elsewhere(self) -> list[LeasedTrial]:
        """Those that external evaluators have or may have, by number."""
        return self._trials_of(TrialStatus.OFFERED, TrialStatus.ASKED)

    def _trials_of(self, *statuses: TrialStatus) -> list[LeasedTrial]:
        of_study = select(tables.trials).where(tables.trials.c.study_id == self.study.id, tables.trials.c.status.in_(statuses))
        return [leased_of(row) for row in self._connection.execute(of_study.order_by(tables.trials.c.number))]
