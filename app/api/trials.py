"""The trials of a study."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response

from app.api.auth import ServiceOf, guarded_router
from app.api.conditional import etag_of, headers_of, not_modified
from app.api.negotiation import media_type
from app.api.paging import Cursor, Limit, cursor_of, number_after
from app.api.problems import problem_responses
from app.api.schemas.trial import TrialPage, trial_shape
from app.api.service import Service
from app.api.studies import StudyOf
from app.domain.columns import provisional_columns
from app.domain.errors import NotFoundError
from app.domain.study import Study
from app.domain.trial import Trial
from app.report.tables import trials_csv

router = guarded_router("/v1/studies", "studies")

_MEDIA = {"json": "application/json", "csv": "text/csv"}
_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}, "example": "trial,origin,c:mnist,c:landsat,search:mnist\n"}}}
}
Format = Annotated[Literal["json", "csv"] | None, Query(description="Instead of `Accept`.", examples=["json"])]


@router.get(
    "/{reference}/trials", response_model=TrialPage, summary="List trials",
    responses=_CSV | problem_responses(404, 406),
)
def list_trials(
    request: Request, study: StudyOf, service: ServiceOf, response: Response,
    cursor: Cursor = None, limit: Limit = 100, format: Format = None,
) -> Response | TrialPage:  # fmt: skip
    """JSON comes in pages; CSV holds every trial of the search split."""
    form = media_type(request, _MEDIA, format)
    etag = etag_of(study.id, study.updated.isoformat(), form, cursor, limit)
    unchanged = not_modified(request, etag)
    if unchanged is not None:
        return unchanged
    trials = service.store.trials(study.id)
    if form == "csv":
        text = trials_csv(trials, _columns(service, study, trials), [task.name for task in study.spec.tasks])
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers_of(etag))
    first = number_after(cursor)
    page = trials[first : first + limit]
    response.headers.update(headers_of(etag))
    more = first + limit < len(trials)
    return TrialPage(items=[trial_shape(trial) for trial in page], next=cursor_of(str(page[-1].number)) if more else None)


def _columns(service: Service, study: Study, trials: Sequence[Trial]) -> tuple[str, ...]:
    try:
        return service.store.front(study.id).columns
    except NotFoundError:
        return provisional_columns(study.spec, len(trials[0].proposal.coefficients)) if trials else tuple(study.spec.models.tuned)
