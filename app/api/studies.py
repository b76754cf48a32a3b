"""Studies: created, looked at, cancelled, extended."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from app.actions.admission import admit, allowance_of
from app.actions.keyed import carry_out_once
from app.actions.studies import cancel, ensure, extend, find_study, submit
from app.api.auth import Caller, CallerOf, ServiceOf, caller_of, guarded_router
from app.api.conditional import etag_of, headers_of, not_modified
from app.api.lookups import lookups_of
from app.api.manifests import REQUEST_BODY, fingerprint_of, read_manifest, spec_of
from app.api.paging import Cursor, Limit, after, cursor_of
from app.api.problems import ProblemError, problem_responses
from app.api.schemas.study import Extension, StudyDetail, StudyPage, StudyShape, study_detail, study_shape
from app.api.service import Service, service_of
from app.api.waiting import PREFER, applied, wait_for_end, wanted_seconds
from app.domain.errors import Fault, ManifestError
from app.domain.ids import new_id
from app.domain.request import KeyedRequest
from app.domain.study import Study, StudySpec

router = guarded_router("/v1/studies", "studies")

_KEY = re.compile(r'"([\x20-\x21\x23-\x5b\x5d-\x7e]{1,255})"|([A-Za-z0-9_.:/+=-]{1,255})')
_THERE: dict[int | str, dict[str, Any]] = {200: {"description": "It is there already.", "model": StudyDetail}}
_CREATED: dict[int | str, dict[str, Any]] = {202: {"description": "Accepted: `Location` names the study.", "model": StudyDetail}}

Document = Annotated[dict[str, Any], Depends(read_manifest)]
Reference = Annotated[str, Path(description="The study's id, or its name (the newest of it).", max_length=64, examples=["images-2"])]
IdempotencyKey = Annotated[
    str | None,
    Header(description="The same request under the same key is carried out once.", examples=['"8e03978e-40d5-43dd-bc93-6894a57f9324"']),
]
Prefer = Annotated[str | None, Header(description=PREFER, examples=["wait=10"])]


async def study_named(request: Request, reference: Reference) -> Study:
    """The study that a path names. Raises NotFoundError, also for another tenant's."""
    store, tenant = service_of(request).store, caller_of(request).tenant
    return await lookups_of(request).find((tenant, reference), lambda: find_study(store, tenant, reference))


StudyOf = Annotated[Study, Depends(study_named)]


@router.post(
    "", status_code=202, responses=_CREATED | problem_responses(400, 409, 410, 413, 415), openapi_extra={"requestBody": REQUEST_BODY},
    summary="Create a study",
)
async def create_study(
    document: Document,
    service: ServiceOf,
    caller: CallerOf,
    response: Response,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> StudyDetail:
    """Everything that is wrong with the manifest is told at once, each with the path of its key. The work is done by workers."""
    seconds = wanted_seconds(prefer)
    study = await run_in_threadpool(_create, service, caller, document, idempotency_key_of(idempotency_key))
    return await _accepted(service, response, study, seconds)


@router.put(
    "/{reference}", status_code=202, openapi_extra={"requestBody": REQUEST_BODY}, summary="Ensure a study",
    responses=_CREATED | _THERE | problem_responses(400, 409, 410, 413, 415),
)
async def put_study(
    reference: Annotated[str, Path(description="The manifest's name.", max_length=64, examples=["images-2"])],
    document: Document, service: ServiceOf, caller: CallerOf, response: Response, prefer: Prefer = None,
) -> StudyDetail:  # fmt: skip
    """The study of this name, created where there is none or the newest failed or was cancelled. 409 when it asks for something else."""
    seconds = wanted_seconds(prefer)
    study, is_new = await run_in_threadpool(_put, service, caller, reference, document)
    accepted = await _accepted(service, response, study, seconds)
    response.status_code = 202 if is_new else 200
    return accepted


@router.get("", summary="List studies")
def list_studies(service: ServiceOf, caller: CallerOf, cursor: Cursor = None, limit: Limit = 100) -> StudyPage:
    """Oldest first."""
    found = service.store.studies(after(cursor), limit + 1, caller.tenant)
    page = found[:limit]
    return StudyPage(items=[study_shape(study) for study in page], next=cursor_of(page[-1].id) if len(found) > limit else None)


@router.get("/{reference}", response_model=StudyDetail, responses=problem_responses(404), summary="Look at a study")
async def get_study(
    request: Request, study: StudyOf, service: ServiceOf, response: Response, prefer: Prefer = None
) -> Response | StudyDetail:
    """With `Prefer: wait=N` the answer comes when the study has ended, N seconds later at the latest."""
    seconds = wanted_seconds(prefer)
    study = await wait_for_end(service.store, study, seconds)
    etag = etag_of(study.id, study.revision, study.status, study.updated.isoformat())
    unchanged = not_modified(request, etag)
    if unchanged is not None:
        return unchanged
    response.headers.update(headers_of(etag) | applied(seconds))
    return await run_in_threadpool(_detail, service, study)


@router.post("/{reference}/cancel", status_code=202, responses=problem_responses(404, 409), summary="Cancel a study")
def cancel_study(study: StudyOf, service: ServiceOf) -> StudyShape:
    """Trials under way are stopped; a front is made of what was measured, or the study says why it has none."""
    return study_shape(cancel(service.store, service.jobs, study))


@router.post(
    "/{reference}/extend", status_code=202, responses=problem_responses(400, 404, 409, 410, 413), summary="Extend a finished study"
)
def extend_study(extension: Extension, study: StudyOf, service: ServiceOf) -> StudyShape:
    """It goes on with more trials, as its next revision; the front stays until there is a new one."""
    return study_shape(extend(service.store, service.jobs, study, extension.trials))


async def _accepted(service: Service, response: Response, study: Study, seconds: float) -> StudyDetail:
    study = await wait_for_end(service.store, study, seconds)
    response.headers.update({"Location": f"/v1/studies/{study.id}"} | applied(seconds))
    return await run_in_threadpool(_detail, service, study)


def _create(service: Service, caller: Caller, document: Mapping[str, Any], key: str | None) -> Study:
    if key is None:
        return _submission(service, caller, *_admitted(service, caller, document))(new_id("study"))

    def make(study_id: str) -> Study:
        return _submission(service, caller, *_admitted(service, caller, document))(study_id)

    request = _request(caller, f"POST /v1/studies {key}"[:255], document)
    return carry_out_once(service.catalog, request, make, service.store.study)


def _put(service: Service, caller: Caller, name: str, document: Mapping[str, Any]) -> tuple[Study, bool]:
    spec, digests = _admitted(service, caller, document)
    if spec.name != name:
        raise ManifestError([Fault("name", f"the manifest's name is {spec.name!r}, the path's {name!r}")])
    request = _request(caller, f"PUT /v1/studies/{name}", document)

    def make(study_id: str) -> Study:
        submission = _submission(service, caller, spec, digests)
        return ensure(service.store, service.jobs, spec, digests, caller.tenant, lambda: submission(study_id))

    # held while it is looked up and made, so that two who ask at once do not make two
    begun = service.catalog.begin_request(request, request.begun)
    if begun != request:
        raise ProblemError(409, "the same study is being created: ask again in a moment", code="in_progress", headers={"Retry-After": "1"})
    try:
        study = make(request.subject)
    finally:
        service.catalog.forget_request(request)
    return study, study.id == request.subject


def _admitted(service: Service, caller: Caller, document: Mapping[str, Any]) -> tuple[StudySpec, dict[str, str]]:
    spec = spec_of(dict(document), service.settings)
    allowance = allowance_of(service.settings.factories, service.settings.directories)
    digests, faults = admit(service.catalog, caller.tenant, spec, allowance)
    if faults:
        raise ManifestError(faults)
    return spec, digests


def _submission(service: Service, caller: Caller, spec: StudySpec, digests: dict[str, str]) -> Callable[[str], Study]:
    return lambda study_id: submit(service.store, service.jobs, spec, digests, caller.tenant, study_id)


def _detail(service: Service, study: Study) -> StudyDetail:
    return study_detail(study, dict(service.store.trial_counts(study.id)))


def _request(caller: Caller, key: str, document: Mapping[str, Any]) -> KeyedRequest:
    return KeyedRequest(caller.tenant, key, fingerprint_of(dict(document)), datetime.now(UTC), new_id("study"))


def idempotency_key_of(header: str | None) -> str | None:
    """The key that the header names: a quoted string of RFC 8941, or the bare word that most clients send."""
    if header is None:
        return None
    found = _KEY.fullmatch(header.strip())
    if found is None:
        raise ProblemError(400, 'Idempotency-Key: expected a string such as "8e03978e-40d5", 255 characters at most', code="malformed")
    return found[1] or found[2]
