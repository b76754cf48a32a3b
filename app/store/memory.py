"""The store in this process's memory: for tests, and for studies that need not outlive it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from app.domain.errors import ConflictError, NotFoundError
from app.domain.front import Front
from app.domain.study import Failure, Study, StudySpec, StudyStatus
from app.domain.trial import Lease, Measurement, Proposal, Trial, TrialStatus
from app.store import holds, rules
from app.store.codec import decode, decode_plain, encode, encode_plain
from app.store.memory_rows import MemoryRows
from app.store.port import Event, Store
from app.store.rules import Happening, LeasedTrial

Value = TypeVar("Value")


class MemoryStore(Store):
    """May be shared by threads. `rows`: those of the catalog beside it, if there is one."""

    def __init__(self, clock: Callable[[], datetime] = rules.utc_now, rows: MemoryRows | None = None) -> None:
        self._clock = clock
        self._rows = rows or MemoryRows()
        self._lock, self._studies = self._rows.lock, self._rows.studies
        self._trials: dict[str, LeasedTrial] = {}
        self._fronts: dict[tuple[str, int], Front] = {}
        self._events: dict[str, list[Event]] = {}

    def add_study(self, study: Study) -> None:
        kept = replace(study, spec=decode(StudySpec, encode(study.spec)), digests=decode_plain(encode_plain(study.digests)))
        first = rules.study_happening(study)
        with self._lock:
            if study.id in self._studies:
                raise ConflictError(f"study {study.id} exists")
            holds.check_there(study.spec.registered, self._rows.registered(study.tenant))
            self._studies[study.id] = kept
            self._events[study.id] = [Event(study.id, 1, first.kind, first.data, self._clock())]

    def study(self, study_id: str) -> Study:
        with self._lock:
            return _held(self._studies, study_id, "study")

    def studies(self, after: str = "", limit: int = 100, tenant: str | None = None) -> tuple[Study, ...]:
        with self._lock:
            later = [self._studies[study_id] for study_id in sorted(self._studies) if study_id > after]
        return tuple(study for study in later if tenant in (None, study.tenant))[:limit]

    def named_study(self, tenant: str, name: str) -> Study:
        with self._lock:
            named = [study.id for study in self._studies.values() if (study.tenant, study.spec.name) == (tenant, name)]
            return _held(self._studies, max(named, default=name), "study")

    def study_counts(self) -> Mapping[StudyStatus, int]:
        with self._lock:
            return Counter(study.status for study in self._studies.values())

    def step_study(self, study_id: str, then: StudyStatus, failure: Failure | None = None) -> Study:
        with self._lock:
            return self._put_study(rules.step_study(self.study(study_id), then, failure, self._clock()))

    def extend(self, study_id: str, spec: StudySpec) -> Study:
        kept = decode(StudySpec, encode(spec))
        with self._lock:
            extended = rules.extend_study(self.study(study_id), kept, self._clock())
            holds.check_there(kept.registered, self._rows.registered(extended.tenant))
            return self._put_study(extended)

    def propose(self, study_id: str, first: int, proposals: Sequence[Proposal], pairing: str = "") -> tuple[Trial, ...]:
        kept = [decode(Proposal, encode(proposal)) for proposal in proposals]
        with self._lock:
            study = self.study(study_id)
            rules.check_proposable(study, len(self.trials(study_id)), first)
            proposed = rules.number_trials(study, first, kept)
            if proposed:
                self._studies[study_id] = rules.pair_study(study, pairing)
                self._trials.update({trial.id: LeasedTrial(trial) for trial in proposed})
                self._append(study_id, rules.proposed_happening(proposed))
            return proposed

    def trial(self, trial_id: str) -> Trial:
        with self._lock:
            return self._leased(trial_id).trial

    def trials(self, study_id: str) -> tuple[Trial, ...]:
        with self._lock:
            self.study(study_id)
            return tuple(leased.trial for leased in self._of_study(study_id))

    def trial_counts(self, study_id: str) -> Mapping[TrialStatus, int]:
        with self._lock:
            return Counter(leased.trial.status for leased in self._of_study(study_id))

    def claim(self, trial_id: str, owner: str, seconds: float, now: float) -> Lease | None:
        with self._lock:
            claimed = rules.claim(self._leased(trial_id), owner, seconds, now)
            if claimed is None:
                return None
            self._put_trial(claimed)
            return claimed.lease

    def ask(self, study_id: str, owner: str, count: int, seconds: float, now: float) -> tuple[Lease, ...]:
        given: list[Lease] = []
        with self._lock:
            self.study(study_id)
            for leased in self._of_study(study_id):
                asked = rules.ask(leased, owner, seconds, now) if len(given) < count else None
                if asked is not None:
                    self._put_trial(asked)
                    given += [] if asked.lease is None else [asked.lease]
        return tuple(given)

    def lease(self, trial_id: str) -> Lease | None:
        with self._lock:
            return self._leased(trial_id).lease

    def renew(self, lease: Lease, seconds: float, now: float) -> Lease:
        with self._lock:
            leased = self._leased(lease.trial_id)
            renewed = rules.renew(leased, lease, seconds, now)
            self._trials[lease.trial_id] = replace(leased, until=renewed.until)
            return renewed

    def release(self, lease: Lease) -> None:
        with self._lock:
            self._put_trial(rules.release(self._leased(lease.trial_id), lease))

    def record(self, lease: Lease, measurement: Measurement) -> Trial:
        kept = decode(Measurement, encode(measurement))
        with self._lock:
            leased = self._leased(lease.trial_id)
            return self._put_trial(rules.record(leased, lease, kept, self.study(leased.trial.study_id).spec))

    def record_failure(self, lease: Lease, failure: Failure) -> Trial:
        with self._lock:
            return self._put_trial(rules.record_failure(self._leased(lease.trial_id), lease, failure))

    def stale_trials(self, now: float, limit: int = 100) -> tuple[str, ...]:
        with self._lock:
            stale = [leased.trial for leased in self._trials.values() if leased.claimable(now)]
            return tuple(trial.id for trial in sorted(stale, key=lambda trial: (trial.study_id, trial.number)))[:limit]

    def idle_studies(self, limit: int = 100) -> tuple[str, ...]:
        with self._lock:
            return tuple(study_id for study_id in sorted(self._studies) if self._idle(study_id))[:limit]

    def finish(self, front: Front) -> Study:
        kept = decode(Front, encode(front))
        with self._lock:
            study = self.study(front.study_id)
            finished = rules.finish_study(study, self._has_front(study), self._clock())
            self._fronts[study.id, study.revision] = kept
            return self._put_study(finished) if finished.status is StudyStatus.FINISHED else self._put_end(finished)

    def forgo_front(self, study_id: str, failure: Failure) -> Study:
        with self._lock:
            study = self.study(study_id)
            return self._put_end(rules.forgo_front(study, self._has_front(study), failure, self._clock()))

    def front(self, study_id: str) -> Front:
        with self._lock:
            revisions = [revision for study, revision in self._fronts if study == study_id]
            if not revisions:
                raise NotFoundError(f"no front of study {study_id}")
            return self._fronts[study_id, max(revisions)]

    def events(self, study_id: str, after: int = 0, limit: int = 1000) -> tuple[Event, ...]:
        with self._lock:
            self.study(study_id)
            return tuple(event for event in self._events[study_id] if event.number > after)[:limit]

    def close(self) -> None:
        """Nothing to give back."""

    def _leased(self, trial_id: str) -> LeasedTrial:
        return _held(self._trials, trial_id, "trial")

    def _of_study(self, study_id: str) -> list[LeasedTrial]:
        # trials are only ever added, each study's in order of number
        return [leased for leased in self._trials.values() if leased.trial.study_id == study_id]

    def _idle(self, study_id: str) -> bool:
        study = self._studies[study_id]
        waiting = study.status is StudyStatus.RUNNING and not any(leased.open for leased in self._of_study(study_id))
        endless = study.status is StudyStatus.CANCELLED and study.failure is None and not self._has_front(study)
        return study.status is StudyStatus.SUBMITTED or waiting or endless

    def _has_front(self, study: Study) -> bool:
        return (study.id, study.revision) in self._fronts

    def _put_end(self, study: Study) -> Study:
        self._studies[study.id] = study
        self._append(study.id, rules.front_happening(study))
        return self._studies[study.id]

    def _put_study(self, study: Study) -> Study:
        self._studies[study.id] = study
        if rules.ended(study):
            for leased in self._of_study(study.id):
                if leased.open:
                    self._put_trial(rules.withdraw(leased, study))
        self._append(study.id, rules.study_happening(study))
        return self._studies[study.id]

    def _put_trial(self, leased: LeasedTrial) -> Trial:
        self._trials[leased.trial.id] = leased
        self._append(leased.trial.study_id, rules.trial_happening(leased.trial))
        return leased.trial

    def _append(self, study_id: str, happening: Happening) -> None:
        at = self._clock()
        events = self._events[study_id]
        events.append(Event(study_id, len(events) + 1, happening.kind, happening.data, at))
        self._studies[study_id] = replace(self._studies[study_id], updated=at)


def _held(things: dict[str, Value], key: str, name: str) -> Value:
    if key not in things:
        raise NotFoundError(f"no {name} {key}")
    return things[key]
