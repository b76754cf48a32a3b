"""What happens to a study, as server-sent events told from its rows: nothing is lost when a server or a client goes."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Header, Query, Response
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.concurrency import run_in_threadpool

from app.actions.studies import has_ended
from app.api.auth import ServiceOf, guarded_router
from app.api.problems import ProblemError, problem_responses
from app.api.studies import StudyOf
from app.domain.study import Study, StudyStatus
from app.store.port import Event, Store

router = guarded_router("/v1/studies", "studies")

POLL_SECONDS = 0.5
PING_SECONDS = 15.0
_NO_MORE = 204
_FRONT = "study.front"
# of one event, as OpenAPI describes streams of them
_EVENT = {"type": "object", "properties": {name: {"type": "string"} for name in ("id", "event", "data")}}
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": _EVENT, "example": {"id": "1", "event": "study.submitted", "data": "{}"}}}},
    204: {"description": "The study has ended and every event was told: ask no more."},
}
After = Annotated[int | None, Query(ge=0, lt=2**31, description="Instead of `Last-Event-ID`.", examples=[0])]
LastEventId = Annotated[str | None, Header(description="Number of the last event that the client has.", examples=["41"])]


@router.get("/{reference}/events", response_class=Response, responses=_STREAM | problem_responses(400, 404), summary="Follow a study")
async def follow(study: StudyOf, service: ServiceOf, after: After = None, last_event_id: LastEventId = None) -> Response:
    """Every event since the last that the client has, then each as it happens, until the study has ended. `id` counts without gaps."""
    last = last_event(after, last_event_id)
    known = await run_in_threadpool(service.store.events, study.id, max(0, last - 1), 2)
    fronted = [event.kind for event in known] == [_FRONT] and known[0].number == last
    if fronted or (_settled(study) and not any(event.number > last for event in known)):
        return Response(status_code=_NO_MORE)
    return EventSourceResponse(_stream(service.store, study.id, last), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


async def _stream(store: Store, study_id: str, last: int) -> AsyncIterator[bytes]:
    silent, fronted = 0.0, False
    while True:
        # the study first: what it says is settled has no event that is not read below
        study = await run_in_threadpool(store.study, study_id)
        events = await run_in_threadpool(store.events, study_id, last)
        for event in events:
            yield _told(event)
            last, silent = event.number, 0.0
            fronted = event.kind == _FRONT
        if not events and (_settled(study) or fronted):
            return
        if not events:
            await asyncio.sleep(POLL_SECONDS)
            silent += POLL_SECONDS
        if silent >= PING_SECONDS:
            silent = 0.0
            yield format_sse_event(comment="still here")


def _told(event: Event) -> bytes:
    data = {"study": event.study_id, "at": event.at.isoformat(), **event.data}
    return format_sse_event(data_str=json.dumps(data), event=event.kind, id=str(event.number))


def _settled(study: Study) -> bool:
    """Whether no event will follow, unless the study is extended. A cancelled study's last one tells of its front."""
    return has_ended(study) and (study.status is not StudyStatus.CANCELLED or study.failure is not None)


def last_event(after: int | None, header: str | None) -> int:
    """Number of the last event that the client has. Raises ProblemError for a header that names none."""
    if after is not None:
        return after
    if not header:
        return 0
    if not (header.isascii() and header.isdigit() and len(header) < 10):
        raise ProblemError(400, f"Last-Event-ID: {header!r} is no event's number", code="malformed")
    return int(header)
