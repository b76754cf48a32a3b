"""Fine-tunings as clients see them."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from app.api.schemas.registration import CHECKPOINT_ID, DATASET_ID
from app.api.schemas.study import FailureShape, failure_shape
from app.domain.finetune import AdapterName, Finetune, FinetuneStatus

FINETUNE_ID = "finetune_01jd8e5v7hk2m3n4p5q6r7s8t9"


class FinetuneLinks(BaseModel):
    """Where more of it is."""

    self: Annotated[str, Field(description="The fine-tuning.", examples=[f"/v1/finetunes/{FINETUNE_ID}"])]
    events: Annotated[str, Field(description="What happens, as server-sent events.", examples=[f"/v1/finetunes/{FINETUNE_ID}/events"])]


class FinetuneAnswer(BaseModel):
    """A fine-tuning and where it stands."""

    id: Annotated[str, Field(description="Stands for it for good.", examples=[FINETUNE_ID])]
    status: Annotated[FinetuneStatus, Field(description="Where it stands.", examples=["running"])]
    kind: Annotated[AdapterName, Field(description="What trains.", examples=["llora"])]
    base: Annotated[str, Field(description="What it starts from, as it was asked.", examples=[CHECKPOINT_ID])]
    data: Annotated[str, Field(description="What it learns from, as it was asked.", examples=[DATASET_ID])]
    created: Annotated[datetime, Field(description="UTC.", examples=["2026-01-02T03:04:05.678901Z"])]
    updated: Annotated[datetime, Field(description="When anything of it changed last, UTC.", examples=["2026-01-02T03:09:10.111213Z"])]
    step: Annotated[int, Field(description="Steps taken.", examples=[120])]
    steps: Annotated[int, Field(description="Steps at most; 0 before the first.", examples=[300])]
    scores: Annotated[
        dict[str, float],
        Field(description="Of the best epoch, once it has ended: on the held-out and on the report examples.", examples=[{"report": 0.93}]),
    ]
    checkpoint: Annotated[str | None, Field(description="The adapter, registered, once it has ended.", examples=[CHECKPOINT_ID])]
    head: Annotated[str | None, Field(description="The linear head that was trained beside it, if any, registered.", examples=[None])]
    failure: Annotated[FailureShape | None, Field(description="Why it failed.", examples=[None])]
    links: FinetuneLinks


class FinetunePage(BaseModel):
    """A page of fine-tunings, oldest first."""

    items: list[FinetuneAnswer]
    next: Annotated[str | None, Field(description="Cursor of the next page; null at the end.", examples=[None])]


def finetune_answer(finetune: Finetune) -> FinetuneAnswer:
    place = f"/v1/finetunes/{finetune.id}"
    return FinetuneAnswer(
        id=finetune.id,
        status=finetune.status,
        kind=finetune.spec.adapter.kind,
        base=finetune.spec.base,
        data=finetune.spec.task.data,
        created=finetune.created,
        updated=finetune.updated,
        step=finetune.progress.step,
        steps=finetune.progress.steps,
        scores=dict(finetune.scores),
        checkpoint=finetune.checkpoint or None,
        head=finetune.head or None,
        failure=failure_shape(finetune.failure),
        links=FinetuneLinks(self=place, events=f"{place}/events"),
    )
