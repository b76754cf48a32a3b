"""Checkpoints: registered, listed, dropped."""

from typing import Annotated, Any

from fastapi import Depends, Path, Response

from app.actions.register import Registry, register_checkpoint
from app.api.auth import CallerOf, ServiceOf, guarded_router
from app.api.paging import Cursor, Limit, after, cursor_of
from app.api.problems import problem_responses
from app.api.schemas.registration import CHECKPOINT_ID, CheckpointPage, CheckpointRegistration, CheckpointShape, checkpoint_shape
from app.domain.checkpoint import Checkpoint

router = guarded_router("/v1/checkpoints", "checkpoints")

_LOCATION = {"Location": {"description": "The checkpoint.", "schema": {"type": "string"}}}
_MADE: dict[int | str, dict[str, Any]] = {201: {"description": "Registered.", "headers": _LOCATION, "model": CheckpointShape}}


def registry_of(service: ServiceOf) -> Registry:
    return Registry(service.catalog, service.source, service.settings.directories)


def checkpoint_named(
    checkpoint_id: Annotated[str, Path(description="The checkpoint's id.", max_length=64, pattern=r"^\w+$", examples=[CHECKPOINT_ID])],
    service: ServiceOf,
    caller: CallerOf,
) -> Checkpoint:
    """Raises NotFoundError, also for another tenant's."""
    return service.catalog.one(Checkpoint, caller.tenant, checkpoint_id)


RegistryOf = Annotated[Registry, Depends(registry_of)]
CheckpointOf = Annotated[Checkpoint, Depends(checkpoint_named)]


@router.post(
    "", status_code=201, summary="Register a checkpoint",
    responses=_MADE | problem_responses(400, 409, 413, 507),
)
def post_checkpoint(registration: CheckpointRegistration, registry: RegistryOf, caller: CallerOf, response: Response) -> CheckpointShape:
    """Every value is read once: no pickle, no broken header, no NaN. All that is wrong is told at once. The same files keep their id."""
    found = register_checkpoint(registry, caller.tenant, registration.given(), registration.base)
    response.headers["Location"] = f"/v1/checkpoints/{found.id}"
    return checkpoint_shape(found)


@router.get("", summary="List checkpoints")
def list_checkpoints(service: ServiceOf, caller: CallerOf, cursor: Cursor = None, limit: Limit = 100) -> CheckpointPage:
    """Oldest first."""
    found = service.catalog.page(Checkpoint, caller.tenant, after(cursor), limit + 1)
    page = found[:limit]
    return CheckpointPage(items=[checkpoint_shape(one) for one in page], next=cursor_of(page[-1].id) if len(found) > limit else None)


@router.get("/{checkpoint_id}", responses=problem_responses(404), summary="Look at a checkpoint")
def get_checkpoint(checkpoint: CheckpointOf) -> CheckpointShape:
    return checkpoint_shape(checkpoint)


@router.delete("/{checkpoint_id}", status_code=204, responses=problem_responses(404, 409), summary="Drop a checkpoint")
def delete_checkpoint(checkpoint: CheckpointOf, service: ServiceOf) -> None:
    """409 while a study or a fine-tuning that has not ended names it. Uploaded bytes that nothing else of yours is made of are given up."""
    service.catalog.unregister(checkpoint)
