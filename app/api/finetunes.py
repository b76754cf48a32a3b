"""Fine-tunings: asked for, looked at, followed, cancelled. Their adapters are registered as checkpoints."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import Depends, Path, Response
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.concurrency import run_in_threadpool

from app.actions.admission import allowance_of
from app.actions.finetunes import admit_finetune, cancel_finetune, submit_finetune
from app.actions.keyed import carry_out_once
from app.api.auth import Caller, CallerOf, ServiceOf, guarded_router
from app.api.events import After, LastEventId, last_event
from app.api.manifests import FINETUNE_BODY, fingerprint_of
from app.api.paging import Cursor, Limit, after, cursor_of
from app.api.problems import problem_responses
from app.api.schemas.finetune import FINETUNE_ID, FinetuneAnswer, FinetunePage, finetune_answer
from app.api.service import Service
from app.api.studies import Document, IdempotencyKey, idempotency_key_of
from app.domain.errors import ManifestError
from app.domain.finetune import Finetune
from app.domain.ids import new_id
from app.domain.request import KeyedRequest
from app.manifest.finetune import parse_finetune
from app.store.catalog import Catalog

router = guarded_router("/v1/finetunes", "finetunes")

POLL_SECONDS, PING_SECONDS = 0.5, 15.0
_ACCEPTED: dict[int | str, dict[str, Any]] = {202: {"description": "Accepted: `Location` names it.", "model": FinetuneAnswer}}
_EVENT = {"type": "object", "properties": {name: {"type": "string"} for name in ("id", "event", "data")}}
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": _EVENT, "example": {"id": "1", "event": "finetune.submitted", "data": "{}"}}}},
    204: {"description": "It has ended and every event was told: ask no more."},
}


def finetune_named(
    finetune_id: Annotated[str, Path(description="The fine-tuning's id.", max_length=64, examples=[FINETUNE_ID])],
    service: ServiceOf,
    caller: CallerOf,
) -> Finetune:
    """Raises NotFoundError, also for another tenant's."""
    return service.catalog.one(Finetune, caller.tenant, finetune_id)


FinetuneOf = Annotated[Finetune, Depends(finetune_named)]


@router.post(
    "", status_code=202, summary="Train an adapter", openapi_extra={"requestBody": FINETUNE_BODY},
    responses=_ACCEPTED | problem_responses(400, 409, 410, 413, 415),
)
async def create_finetune(
    document: Document, service: ServiceOf, caller: CallerOf, response: Response, idempotency_key: IdempotencyKey = None
) -> FinetuneAnswer:
    """Everything that is wrong with the request is told at once. Workers train; what comes out is registered as a checkpoint."""
    made = await run_in_threadpool(_create, service, caller, document, idempotency_key_of(idempotency_key))
    response.headers["Location"] = f"/v1/finetunes/{made.id}"
    return finetune_answer(made)


@router.get("", summary="List fine-tunings")
def list_finetunes(service: ServiceOf, caller: CallerOf, cursor: Cursor = None, limit: Limit = 100) -> FinetunePage:
    """Oldest first."""
    found = service.catalog.page(Finetune, caller.tenant, after(cursor), limit + 1)
    page = found[:limit]
    return FinetunePage(items=[finetune_answer(one) for one in page], next=cursor_of(page[-1].id) if len(found) > limit else None)


@router.get("/{finetune_id}", responses=problem_responses(404), summary="Look at a fine-tuning")
def get_finetune(finetune: FinetuneOf) -> FinetuneAnswer:
    return finetune_answer(finetune)


@router.post("/{finetune_id}/cancel", status_code=202, responses=problem_responses(404, 409), summary="Cancel a fine-tuning")
def post_cancel(finetune: FinetuneOf, service: ServiceOf) -> FinetuneAnswer:
    """Whoever trains it stops within seconds, whatever it is doing; nothing is kept of it."""
    return finetune_answer(cancel_finetune(service.catalog, finetune))


@router.get(
    "/{finetune_id}/events", response_class=Response, responses=_STREAM | problem_responses(400, 404), summary="Follow a fine-tuning"
)
async def follow_finetune(
    finetune: FinetuneOf, service: ServiceOf, after: After = None, last_event_id: LastEventId = None
) -> Response:
    """Every event since the last that the client has, then each as it happens, until it has ended. `id` counts without gaps."""
    last = last_event(after, last_event_id)
    if not finetune.open and len(finetune.events) <= last:
        return Response(status_code=204)
    stream = _stream(service.catalog, finetune, last)
    return EventSourceResponse(stream, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


async def _stream(catalog: Catalog, finetune: Finetune, last: int) -> AsyncIterator[bytes]:
    silent = 0.0
    while True:
        finetune = await run_in_threadpool(catalog.one, Finetune, finetune.tenant, finetune.id)
        for number, event in enumerate(finetune.events[last:], last + 1):
            data = {"finetune": finetune.id, "at": event.at.isoformat(), **event.data}
            yield format_sse_event(data_str=json.dumps(data), event=event.kind, id=str(number))
            last, silent = number, 0.0
        if not finetune.open:
            return
        await asyncio.sleep(POLL_SECONDS)
        silent += POLL_SECONDS
        if silent >= PING_SECONDS:
            silent = 0.0
            yield format_sse_event(comment="still here")


def _create(service: Service, caller: Caller, document: Mapping[str, Any], key: str | None) -> Finetune:
    def make(finetune_id: str) -> Finetune:
        folder = service.settings.directories[0] if service.settings.directories else FilePath("/nonexistent")
        spec, faults = parse_finetune(document, folder)
        if spec is None:
            raise ManifestError(faults)
        allowance = allowance_of(service.settings.factories, service.settings.directories)
        digest, faults = admit_finetune(service.catalog, caller.tenant, spec, allowance)
        if faults:
            raise ManifestError(faults)
        return submit_finetune(service.catalog, service.jobs, caller.tenant, spec, digest, finetune_id)

    if key is None:
        return make(new_id("finetune"))
    asked = fingerprint_of(dict(document))
    request = KeyedRequest(caller.tenant, f"POST /v1/finetunes {key}"[:255], asked, datetime.now(UTC), new_id("finetune"))
    return carry_out_once(service.catalog, request, make, lambda known: service.catalog.one(Finetune, caller.tenant, known))
