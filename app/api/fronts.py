"""The front of a study: as data, as a picture, as a page."""

import io
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.api.auth import guarded_router
from app.api.conditional import etag_of, headers_of, not_modified
from app.api.kept import Kept
from app.api.negotiation import media_type
from app.api.problems import problem_responses
from app.api.service import Service, service_of
from app.api.studies import Reference, StudyOf, study_named
from app.domain.errors import NotFoundError
from app.domain.front import Front
from app.domain.study import Study
from app.report.document import document_text, front_document
from app.report.figure import draw_front
from app.report.page import render_page
from app.report.schema import FrontDocument
from app.report.tables import front_csv

router = guarded_router("/v1/studies", "fronts")

_MEDIA = {"json": "application/json", "csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
Format = Annotated[Literal["json", "csv", "parquet"] | None, Query(description="Instead of `Accept`.", examples=["json"])]

# what is read again and again is made once: a front never changes
_made: Kept[bytes] = Kept(256)

_FORMS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": FrontDocument,
        "content": {
            "application/json": {},  # the first is what Swagger UI asks for
            "text/csv": {"schema": {"type": "string"}, "example": "point,c:mnist,c:landsat,predicted:mnist,low:mnist,high:mnist\n"},
            "application/vnd.apache.parquet": {"schema": {"type": "string", "contentMediaType": "application/vnd.apache.parquet"}},
        },
    }
}
_PNG = {"type": "string", "contentMediaType": "image/png"}
_PICTURE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {"schema": _PNG}}}}
_PAGE: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}


@router.get("/{reference}/front", response_class=Response, responses=_FORMS | problem_responses(404, 406), summary="Read the front")
async def read_front(request: Request, reference: Reference, format: Format = None) -> Response:
    """The points with predicted and measured scores. 404 while there is none; of a cancelled study `detail` says why."""
    # asked for most of all calls: going through one more dependency would cost as much as the answer
    study = await study_named(request, reference)
    form = media_type(request, _MEDIA, format)
    return await _answer(request, study, form, _MEDIA[form])


@router.get("/{reference}/front.png", response_class=Response, responses=_PICTURE | problem_responses(404), summary="See the front")
async def read_picture(request: Request, study: StudyOf) -> Response:
    return await _answer(request, study, "png", "image/png")


@router.get("/{reference}/report", response_class=Response, responses=_PAGE | problem_responses(404), summary="Read the report")
async def read_report(request: Request, study: StudyOf) -> Response:
    """One page that opens offline and asks nothing of any server."""
    return await _answer(request, study, "html", "text/html")


def front_of(service: Service, study: Study) -> Front:
    """Raises NotFoundError with the reason."""
    try:
        return service.store.front(study.id)
    except NotFoundError as error:
        reason = study.failure.message if study.failure else "it has none yet"
        raise NotFoundError(f"study {study.id} is {study.status} and has no front: {reason}") from error


async def _answer(request: Request, study: Study, form: str, media: str) -> Response:
    etag = etag_of(study.id, study.updated.isoformat(), form)
    unchanged = not_modified(request, etag)
    if unchanged is not None:
        return unchanged
    key = study.id, etag
    content = _made.get(key) or await run_in_threadpool(_made.get_or_make, key, lambda: _make(service_of(request), study, form))
    return Response(content, media_type="text/csv; charset=utf-8" if form == "csv" else media, headers=headers_of(etag))


def _make(service: Service, study: Study, form: str) -> bytes:
    front = front_of(service, study)
    trials = service.store.trials(study.id)
    makers: Mapping[str, Callable[[], bytes]] = {
        "json": lambda: document_text(front_document(study, trials, front)).encode(),
        "csv": lambda: front_csv(front).encode(),
        "parquet": lambda: _parquet(front_csv(front).encode()),
        "png": lambda: draw_front(study, trials, front),
        "html": lambda: render_page(study, trials, front, study.id).encode(),
    }
    return makers[form]()


def _parquet(table: bytes) -> bytes:
    from pyarrow import csv, parquet

    content = io.BytesIO()
    parquet.write_table(csv.read_csv(io.BytesIO(table)), content)
    return content.getvalue()
