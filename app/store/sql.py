"""The store on SQLite and PostgreSQL."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, and_, bindparam, exists, func, insert, or_, select
from sqlalchemy.exc import IntegrityError

from app.domain.errors import ConflictError, NotFoundError
from app.domain.front import Front
from app.domain.study import Failure, Study, StudySpec, StudyStatus
from app.domain.trial import MAX_ATTEMPTS, Lease, Measurement, Proposal, Trial, TrialStatus
from app.store import custody, rules
from app.store.codec import decode
from app.store.engine import connect, reading, writing
from app.store.ledger import Ledger
from app.store.port import Event, Store
from app.store.rows import event_of, event_row, leased_of, study_of, study_row
from app.store.rules import LeasedTrial
from app.store.schema import check_revision, upgrade
from app.store.tables import events, fronts, studies, trials

# made once: these two are asked with every request, and building them costs as much as answering them
_STUDY = select(studies).where(studies.c.id == bindparam("id"))
_NAMED = select(studies).where(studies.c.tenant == bindparam("tenant"), studies.c.name == bindparam("name"))
_NAMED_STUDY = _NAMED.order_by(studies.c.id.desc()).limit(1)


class SqlStore(Store):
    """May be shared by threads; processes open their own."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    def add_study(self, study: Study) -> None:
        first = rules.study_happening(study)
        try:
            with writing(self._engine) as connection:
                custody.lock_registered(connection, study.tenant, study.spec.registered)
                connection.execute(insert(studies).values(study_row(study)))
                connection.execute(insert(events).values(event_row(Event(study.id, 1, first.kind, first.data, self._clock()))))
        except IntegrityError as error:
            raise ConflictError(f"study {study.id} exists") from error

    def study(self, study_id: str) -> Study:
        with reading(self._engine) as connection:
            return study_of(_one(connection, _STUDY, f"no study {study_id}", id=study_id))

    def studies(self, after: str = "", limit: int = 100, tenant: str | None = None) -> tuple[Study, ...]:
        page = select(studies).where(studies.c.id > after).order_by(studies.c.id).limit(limit)
        if tenant is not None:
            page = page.where(studies.c.tenant == tenant)
        with reading(self._engine) as connection:
            return tuple(map(study_of, connection.execute(page)))

    def named_study(self, tenant: str, name: str) -> Study:
        with reading(self._engine) as connection:
            return study_of(_one(connection, _NAMED_STUDY, f"no study {name}", tenant=tenant, name=name))

    def study_counts(self) -> Mapping[StudyStatus, int]:
        counted = select(studies.c.status, func.count()).group_by(studies.c.status)
        with reading(self._engine) as connection:
            return {StudyStatus(status): count for status, count in connection.execute(counted)}

    def step_study(self, study_id: str, then: StudyStatus, failure: Failure | None = None) -> Study:
        with self._held(study_id) as ledger:
            return ledger.put_study(rules.step_study(ledger.study, then, failure, ledger.at))

    def extend(self, study_id: str, spec: StudySpec) -> Study:
        with self._held(study_id) as ledger:
            extended = rules.extend_study(ledger.study, spec, ledger.at)
            ledger.keep_registered(spec)
            return ledger.put_study(extended)

    def propose(self, study_id: str, first: int, proposals: Sequence[Proposal], pairing: str = "") -> tuple[Trial, ...]:
        with self._held(study_id) as ledger:
            rules.check_proposable(ledger.study, ledger.trial_count(), first)
            proposed = rules.number_trials(ledger.study, first, proposals)
            if proposed:
                ledger.pair(rules.pair_study(ledger.study, pairing))
                ledger.add_trials(proposed)
            return proposed

    def trial(self, trial_id: str) -> Trial:
        with reading(self._engine) as connection:
            return leased_of(_trial_row(connection, trial_id)).trial

    def trials(self, study_id: str) -> tuple[Trial, ...]:
        with reading(self._engine) as connection:
            _check_study(connection, study_id)
            of_study = select(trials).where(trials.c.study_id == study_id).order_by(trials.c.number)
            return tuple(leased_of(row).trial for row in connection.execute(of_study))

    def trial_counts(self, study_id: str) -> Mapping[TrialStatus, int]:
        counted = select(trials.c.status, func.count()).where(trials.c.study_id == study_id).group_by(trials.c.status)
        with reading(self._engine) as connection:
            return {TrialStatus(status): count for status, count in connection.execute(counted)}

    def claim(self, trial_id: str, owner: str, seconds: float, now: float) -> Lease | None:
        with self._held_trial(trial_id) as (ledger, leased):
            claimed = rules.claim(leased, owner, seconds, now)
            if claimed is None:
                return None
            ledger.put_trial(claimed)
            return claimed.lease

    def ask(self, study_id: str, owner: str, count: int, seconds: float, now: float) -> tuple[Lease, ...]:
        given: list[Lease] = []
        with self._held(study_id) as ledger:
            for leased in ledger.trials_elsewhere():
                asked = rules.ask(leased, owner, seconds, now) if len(given) < count else None
                if asked is not None:
                    ledger.put_trial(asked)
                    given += [] if asked.lease is None else [asked.lease]
        return tuple(given)

    def lease(self, trial_id: str) -> Lease | None:
        with reading(self._engine) as connection:
            return leased_of(_trial_row(connection, trial_id)).lease

    def renew(self, lease: Lease, seconds: float, now: float) -> Lease:
        with self._held_trial(lease.trial_id) as (ledger, leased):
            renewed = rules.renew(leased, lease, seconds, now)
            ledger.put_lease(renewed)
            return renewed

    def release(self, lease: Lease) -> None:
        with self._held_trial(lease.trial_id) as (ledger, leased):
            ledger.put_trial(rules.release(leased, lease))

    def record(self, lease: Lease, measurement: Measurement) -> Trial:
        with self._held_trial(lease.trial_id) as (ledger, leased):
            return ledger.put_trial(rules.record(leased, lease, measurement, ledger.study.spec))

    def record_failure(self, lease: Lease, failure: Failure) -> Trial:
        with self._held_trial(lease.trial_id) as (ledger, leased):
            return ledger.put_trial(rules.record_failure(leased, lease, failure))

    def stale_trials(self, now: float, limit: int = 100) -> tuple[str, ...]:
        run_out = and_(trials.c.status == TrialStatus.MEASURING.value, trials.c.until < now)
        worn_out = and_(trials.c.status == TrialStatus.ASKED.value, trials.c.until < now, trials.c.attempts >= MAX_ATTEMPTS)
        stale = select(trials.c.id).where(or_(trials.c.status == TrialStatus.PROPOSED.value, run_out, worn_out))
        return self._ids(stale.order_by(trials.c.study_id, trials.c.number).limit(limit))

    def idle_studies(self, limit: int = 100) -> tuple[str, ...]:
        unmeasured = exists().where(trials.c.study_id == studies.c.id, trials.c.status.in_(rules.OPEN))
        waiting = and_(studies.c.status == StudyStatus.RUNNING.value, ~unmeasured)
        front = exists().where(fronts.c.study_id == studies.c.id, fronts.c.revision == studies.c.revision)
        endless = and_(studies.c.status == StudyStatus.CANCELLED.value, studies.c.failure.is_(None), ~front)
        idle = select(studies.c.id).where(or_(studies.c.status == StudyStatus.SUBMITTED.value, waiting, endless))
        return self._ids(idle.order_by(studies.c.id).limit(limit))

    def finish(self, front: Front) -> Study:
        with self._held(front.study_id) as ledger:
            finished = rules.finish_study(ledger.study, ledger.has_front(), ledger.at)
            ledger.add_front(front)
            return ledger.put_study(finished) if finished.status is StudyStatus.FINISHED else ledger.put_end(finished)

    def forgo_front(self, study_id: str, failure: Failure) -> Study:
        with self._held(study_id) as ledger:
            return ledger.put_end(rules.forgo_front(ledger.study, ledger.has_front(), failure, ledger.at))

    def front(self, study_id: str) -> Front:
        with reading(self._engine) as connection:
            of_study = select(fronts).where(fronts.c.study_id == study_id).order_by(fronts.c.revision.desc()).limit(1)
            return decode(Front, _one(connection, of_study, f"no front of study {study_id}").front)

    def events(self, study_id: str, after: int = 0, limit: int = 1000) -> tuple[Event, ...]:
        with reading(self._engine) as connection:
            _check_study(connection, study_id)
            page = select(events).where(events.c.study_id == study_id, events.c.number > after).order_by(events.c.number)
            return tuple(map(event_of, connection.execute(page.limit(limit))))

    def close(self) -> None:
        self._engine.dispose()

    def _ids(self, query: Select[tuple[str]]) -> tuple[str, ...]:
        with reading(self._engine) as connection:
            return tuple(connection.scalars(query))

    @contextmanager
    def _held(self, study_id: str) -> Iterator[Ledger]:
        with writing(self._engine) as connection:
            yield Ledger(connection, study_id, self._clock)

    @contextmanager
    def _held_trial(self, trial_id: str) -> Iterator[tuple[Ledger, LeasedTrial]]:
        with writing(self._engine) as connection:
            # the study's row first, and only then the trial as it is now: so all writers queue in one order
            ledger = Ledger(connection, _trial_row(connection, trial_id).study_id, self._clock)
            yield ledger, ledger.trial(trial_id)


def open_store(url: str, clock: Callable[[], datetime] = rules.utc_now) -> SqlStore:
    """The store in the database at `url`: `sqlite:///path`, made and brought to this release's schema; or `postgresql://user@host/name`.

    Raises RefusedError for other URLs; UnavailableError where it cannot be reached, or is PostgreSQL without this release's schema.
    """
    engine = connect(url)
    if engine.dialect.name == "sqlite":
        upgrade(url)
    else:
        check_revision(url)
    return SqlStore(engine, clock)


def _one(connection: Connection, query: Select[Any], missing: str, **values: str) -> Row[Any]:
    row = connection.execute(query, values).one_or_none()
    if row is None:
        raise NotFoundError(missing)
    return row


def _trial_row(connection: Connection, trial_id: str) -> Row[Any]:
    return _one(connection, select(trials).where(trials.c.id == trial_id), f"no trial {trial_id}")


def _check_study(connection: Connection, study_id: str) -> None:
    _one(connection, select(studies.c.id).where(studies.c.id == study_id), f"no study {study_id}")
