"""Use cases of studies."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from app.actions.inputs import fingerprint
from app.domain.errors import ConflictError, Fault, NotFoundError, RefusedError, UnavailableError
from app.domain.ids import new_id
from app.domain.study import Study, StudySpec, StudyStatus
from app.jobs.port import Jobs
from app.store.port import Store

ENDED = frozenset({StudyStatus.FINISHED, StudyStatus.FAILED, StudyStatus.CANCELLED})

log = logging.getLogger(__name__)


def submit(
    store: Store, jobs: Jobs, spec: StudySpec, digests: Mapping[str, str], tenant: str = "", study_id: str | None = None
) -> Study:
    """A new study, written down and waked. `digests`: of its inputs. Raises ConflictError when the id exists."""
    now = datetime.now(UTC)
    submitted = StudyStatus.SUBMITTED
    study = Study(study_id or new_id("study"), spec, submitted, created=now, updated=now, digests=dict(digests), tenant=tenant)
    store.add_study(study)
    wake(jobs, study)
    return study


def resume(jobs: Jobs, study: Study, spec: StudySpec, digests: Mapping[str, str]) -> Study:
    """The study that was begun with the same request, waked again. Raises ConflictError when the request differs."""
    if fingerprint(study.spec, study.digests) != fingerprint(spec, digests):
        raise ConflictError(f"another study ({study.spec.name!r}, begun {study.created:%Y-%m-%d %H:%M} UTC) asked for something else")
    wake(jobs, study)
    return study


def ensure(store: Store, jobs: Jobs, spec: StudySpec, digests: Mapping[str, str], tenant: str, make: Callable[[], Study]) -> Study:
    """The tenant's newest study of the spec's name where it asks for the same; `make` where there is none or it came to nothing.

    Raises ConflictError where the newest asks for something else.
    """
    try:
        newest = store.named_study(tenant, spec.name)
    except NotFoundError:
        return make()
    if newest.status in (StudyStatus.FAILED, StudyStatus.CANCELLED):
        return make()
    return resume(jobs, newest, spec, digests)


def find_study(store: Store, tenant: str, reference: str) -> Study:
    """A study by its id, or the newest of the tenant's by its name. Raises NotFoundError, also for another tenant's."""
    if not reference.startswith("study_"):
        return store.named_study(tenant, reference)
    study = store.study(reference)
    if study.tenant != tenant:
        raise NotFoundError(f"no study {reference}")
    return study


def has_ended(study: Study) -> bool:
    """Whether nothing of the study is under way any more, but for the front of a cancelled one."""
    return study.status in ENDED


def cancel(store: Store, jobs: Jobs, study: Study) -> Study:
    """The study, cancelled; its front so far follows. Does nothing to one that is. Raises ConflictError where it has ended otherwise."""
    if study.status is StudyStatus.CANCELLED:
        return study
    cancelled = store.step_study(study.id, StudyStatus.CANCELLED)
    wake(jobs, cancelled)
    return cancelled


def extend(store: Store, jobs: Jobs, study: Study, trials: int) -> Study:
    """The finished study, submitted again with so many more trials.

    Raises ConflictError where it is not finished; RefusedError for no trial, and for a nested study, whose levels are all done.
    """
    if trials < 1:
        raise RefusedError([Fault("trials", f"{trials} more trials are none: 1 or more")])
    if study.spec.method.name == "nested":
        problem = "every level of a nested study builds on the one below, and all are done: submit a study with a larger method.budget"
        raise RefusedError([Fault("trials", problem)])
    method = replace(study.spec.method, budget=study.spec.method.budget + trials)
    extended = store.extend(study.id, replace(study.spec, method=method))
    wake(jobs, extended)
    return extended


def wake(jobs: Jobs, study: Study) -> None:
    """Has the study taken further; where the broker is out of reach, once the sweeper comes by."""
    try:
        jobs.send("advance_study", study.id)
    except UnavailableError as error:
        # the row is written: the sweeper finds it once the broker is back
        log.warning("study %s is written but not waked: %s", study.id, error)
