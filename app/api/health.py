"""Whether the service lives, and whether every part that it needs is there."""

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.api.service import Service, service_of
from app.domain.errors import MergefrontError

router = APIRouter(tags=["health"])


class Health(BaseModel):
    status: Annotated[Literal["alive"], Field(description="This process answers.", examples=["alive"])]


class Readiness(BaseModel):
    ready: Annotated[bool, Field(description="Whether every part answers.", examples=[True])]
    missing: Annotated[
        dict[str, str],
        Field(description="What is wrong with each part that does not answer, by the part's name.", examples=[{}]),
    ]


@router.get("/healthz", summary="Does this process answer?")
async def healthz() -> Health:
    return Health(status="alive")


@router.get("/readyz", summary="Is every part there?", responses={503: {"model": Readiness, "description": "A part is missing."}})
def readyz(request: Request, response: Response) -> Readiness:
    missing = _missing(service_of(request))
    response.status_code = 503 if missing else 200
    return Readiness(ready=not missing, missing=missing)


def _missing(service: Service) -> dict[str, str]:
    probes: dict[str, Callable[[], object]] = {
        "database": lambda: service.store.studies(limit=1),
        "blobs": lambda: service.blobs.has("0" * 64),
        "broker": service.jobs.check,
    }
    missing = {}
    for part, probe in probes.items():
        try:
            probe()
        except MergefrontError as error:
            missing[part] = str(error)
    return missing
