"""Datasets: registered, listed, dropped."""

from typing import Annotated, Any

from fastapi import Depends, Path, Response

from app.actions.register import register_dataset
from app.api.auth import CallerOf, ServiceOf, guarded_router
from app.api.checkpoints import RegistryOf
from app.api.paging import Cursor, Limit, after, cursor_of
from app.api.problems import problem_responses
from app.api.schemas.registration import DATASET_ID, DatasetPage, DatasetRegistration, DatasetShape, dataset_shape
from app.domain.checkpoint import Dataset

router = guarded_router("/v1/datasets", "datasets")

_LOCATION = {"Location": {"description": "The dataset.", "schema": {"type": "string"}}}
_MADE: dict[int | str, dict[str, Any]] = {201: {"description": "Registered.", "headers": _LOCATION, "model": DatasetShape}}


def dataset_named(
    dataset_id: Annotated[str, Path(description="The dataset's id.", max_length=64, pattern=r"^\w+$", examples=[DATASET_ID])],
    service: ServiceOf,
    caller: CallerOf,
) -> Dataset:
    """Raises NotFoundError, also for another tenant's."""
    return service.catalog.one(Dataset, caller.tenant, dataset_id)


DatasetOf = Annotated[Dataset, Depends(dataset_named)]


@router.post(
    "", status_code=201, summary="Register a dataset",
    responses=_MADE | problem_responses(400, 409, 413, 507),
)
def post_dataset(registration: DatasetRegistration, registry: RegistryOf, caller: CallerOf, response: Response) -> DatasetShape:
    """It is read through once; all that is wrong is told at once. The same file keeps its id."""
    found = register_dataset(registry, caller.tenant, registration.given())
    response.headers["Location"] = f"/v1/datasets/{found.id}"
    return dataset_shape(found)


@router.get("", summary="List datasets")
def list_datasets(service: ServiceOf, caller: CallerOf, cursor: Cursor = None, limit: Limit = 100) -> DatasetPage:
    """Oldest first."""
    found = service.catalog.page(Dataset, caller.tenant, after(cursor), limit + 1)
    page = found[:limit]
    return DatasetPage(items=[dataset_shape(one) for one in page], next=cursor_of(page[-1].id) if len(found) > limit else None)


@router.get("/{dataset_id}", responses=problem_responses(404), summary="Look at a dataset")
def get_dataset(dataset: DatasetOf) -> DatasetShape:
    return dataset_shape(dataset)


@router.delete("/{dataset_id}", status_code=204, responses=problem_responses(404, 409), summary="Drop a dataset")
def delete_dataset(dataset: DatasetOf, service: ServiceOf) -> None:
    """409 while a study or a fine-tuning that has not ended names it. Uploaded bytes that nothing else of yours is made of are given up."""
    service.catalog.unregister(dataset)
