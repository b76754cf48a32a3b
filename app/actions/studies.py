"""Use cases of studies."""

from collections.abc import Mapping
from datetime import UTC, datetime

from app.actions.inputs import fingerprint
from app.domain.errors import ConflictError
from app.domain.ids import new_id
from app.domain.study import Study, StudySpec, StudyStatus
from app.jobs.port import Jobs
from app.store.port import Store


def submit(store: Store, jobs: Jobs, spec: StudySpec, digests: Mapping[str, str]) -> Study:
    """A new study, written down and waked. `digests`: of its inputs, from `digest_inputs`."""
    now = datetime.now(UTC)
    study = Study(new_id("study"), spec, StudyStatus.SUBMITTED, created=now, updated=now, digests=dict(digests))
    store.add_study(study)
    jobs.send("advance_study", study.id)
    return study


def resume(jobs: Jobs, study: Study, spec: StudySpec, digests: Mapping[str, str]) -> Study:
    """The study that was begun with the same request, waked again. Raises ConflictError when the request differs."""
    if fingerprint(study.spec, study.digests) != fingerprint(spec, digests):
        raise ConflictError(f"another study ({study.spec.name!r}, begun {study.created:%Y-%m-%d %H:%M} UTC) asked for something else")
    jobs.send("advance_study", study.id)
    return study
