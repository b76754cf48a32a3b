"""Rows of the tables as domain values, and back."""

from functools import lru_cache
from typing import Any

from sqlalchemy import Row

from app.domain.study import Failure, Study, StudySpec, StudyStatus
from app.domain.trial import Measurement, Proposal, Trial, TrialStatus
from app.store.codec import decode, decode_plain, encode, encode_plain
from app.store.port import Event
from app.store.rules import LeasedTrial


def study_row(study: Study) -> dict[str, object]:
    return {
        "id": study.id,
        "status": study.status.value,
        "spec": encode(study.spec),
        "digests": encode_plain(study.digests),
        "failure": _failure_text(study.failure),
        "created": study.created,
        "updated": study.updated,
        "tenant": study.tenant,
        "name": study.spec.name,
        "revision": study.revision,
        "pairing": study.pairing,
    }


def study_of(row: Row[Any]) -> Study:
    return Study(
        id=row.id,
        spec=_spec_of(row.spec),
        status=StudyStatus(row.status),
        created=row.created,
        updated=row.updated,
        digests=decode_plain(row.digests),
        failure=_failure_of(row.failure),
        tenant=row.tenant,
        revision=row.revision,
        pairing=row.pairing,
    )


@lru_cache(maxsize=256)
def _spec_of(text: str) -> StudySpec:
    # a study is read far more often than its spec changes, and specs are immutable
    return decode(StudySpec, text)


def trial_row(leased: LeasedTrial) -> dict[str, object]:
    trial = leased.trial
    return {
        "id": trial.id,
        "study_id": trial.study_id,
        "number": trial.number,
        "status": trial.status.value,
        "proposal": encode(trial.proposal),
        "measurement": _measurement_text(trial),
        "failure": _failure_text(trial.failure),
        "attempts": trial.attempts,
        "token": leased.token,
        "owner": leased.owner,
        "until": leased.until,
    }


def leased_of(row: Row[Any]) -> LeasedTrial:
    return LeasedTrial(_trial_of(row), row.token, row.owner, row.until)


def event_row(event: Event) -> dict[str, object]:
    return {
        "study_id": event.study_id,
        "number": event.number,
        "kind": event.kind,
        "data": encode_plain(event.data),
        "at": event.at,
    }


def event_of(row: Row[Any]) -> Event:
    return Event(row.study_id, row.number, row.kind, decode_plain(row.data), row.at)


def _trial_of(row: Row[Any]) -> Trial:
    measured = None if row.measurement is None else decode(Measurement, row.measurement)
    return Trial(
        id=row.id,
        study_id=row.study_id,
        number=row.number,
        proposal=decode(Proposal, row.proposal),
        status=TrialStatus(row.status),
        scores=measured.scores if measured else {},
        outputs=measured.outputs if measured else {},
        seconds=measured.seconds if measured else None,
        failure=_failure_of(row.failure),
        attempts=row.attempts,
    )


def _measurement_text(trial: Trial) -> str | None:
    return None if trial.seconds is None else encode(Measurement(trial.scores, trial.outputs, trial.seconds))


def _failure_text(failure: Failure | None) -> str | None:
    return None if failure is None else encode(failure)


def _failure_of(text: str | None) -> Failure | None:
    return None if text is None else decode(Failure, text)
