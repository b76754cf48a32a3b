"""Merges as clients ask for them and see them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.schemas.choice import ChoiceRequest, PredictedShape
from app.api.schemas.study import STUDY_ID
from app.domain.merge import Merge

MERGE_ID = "merge_01jd8e5v7hk2m3n4p5q6r7s8ta"
_SCORES = {"mnist": 0.951, "landsat": 0.874}
_PREDICTED = {"mnist": {"score": 0.957, "low": 0.949, "high": 0.964}}


class MergeRequest(ChoiceRequest):
    """Exactly one of `point`, `coefficients`, `weights`, `target`, `knee` and `maximize`; the last four within `constraints`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"point": 1}]})

    point: Annotated[int | None, Field(ge=0, le=2**31, description="Number of a point of the front.", examples=[7])] = None
    coefficients: Annotated[
        list[float] | None,
        Field(max_length=100_000, description="One number for each of the study's columns.", examples=[[0.62, 0.41]]),
    ] = None

    @model_validator(mode="after")
    def _one_wish(self) -> "MergeRequest":
        named = (self.point, self.coefficients)
        wished = (self.weights, self.target, self.knee or None, self.maximize)
        if sum(one is not None for one in (*named, *wished)) != 1:
            raise ValueError("give exactly one of point, coefficients, weights, target, knee and maximize")
        if self.constraints and any(one is not None for one in named):
            raise ValueError("constraints choose a merge, point and coefficients name one: give one of them")
        return self


class MergeLinks(BaseModel):
    """Where more of the merge is."""

    self: Annotated[str, Field(description="The merge.", examples=[f"/v1/merges/{MERGE_ID}"])]
    files: Annotated[str, Field(description="Its files.", examples=[f"/v1/merges/{MERGE_ID}/files"])]
    study: Annotated[str, Field(description="The study.", examples=[f"/v1/studies/{STUDY_ID}"])]
    hub: Annotated[str, Field(description="What a client of the model hub calls it.", examples=[f"{STUDY_ID}/{MERGE_ID}"])]


class MergeShape(BaseModel):
    """A merge: its weights are computed when its files are read."""

    id: Annotated[str, Field(description="Stands for this merge for good.", examples=[MERGE_ID])]
    study: Annotated[str, Field(description="Id of the study.", examples=[STUDY_ID])]
    point: Annotated[int | None, Field(description="Its number on the front, where it was named by one.", examples=[7])]
    how: Annotated[str, Field(description="How it was named, in words.", examples=["point 7 of the front"])]
    coefficients: Annotated[list[float], Field(description="D coefficients.", examples=[[0.62, 0.41]])]
    digest: Annotated[str, Field(description="Of inputs, transform and coefficients: the same for the same bytes.", examples=["cd" * 32])]
    created: Annotated[datetime, Field(description="UTC.", examples=["2026-01-02T03:04:05.678901Z"])]
    predicted: Annotated[dict[str, PredictedShape], Field(description="Scores by task, where predicted.", examples=[_PREDICTED])]
    search: Annotated[dict[str, float], Field(description="Scores on the search split, where measured.", examples=[_SCORES])]
    report: Annotated[dict[str, float], Field(description="Scores on the report split, where measured.", examples=[_SCORES])]
    links: MergeLinks


class MergePage(BaseModel):
    """A page of merges, oldest first."""

    items: list[MergeShape]
    next: Annotated[str | None, Field(description="Cursor of the next page; null at the end.", examples=[None])]


class FileShape(BaseModel):
    """One file of a merge."""

    name: Annotated[str, Field(description="Path within the merge.", examples=["model.safetensors"])]
    size: Annotated[int, Field(description="Bytes.", examples=[936_183_272])]
    etag: Annotated[str, Field(description="Changes whenever a byte of it does.", examples=["ef" * 32])]
    sha256: Annotated[str | None, Field(description="Of its bytes, where asked for.", examples=[None])]
    href: Annotated[str, Field(description="Where it is read.", examples=[f"/v1/merges/{MERGE_ID}/files/model.safetensors"])]


class FileList(BaseModel):
    """Every file of a merge."""

    items: list[FileShape]
    size: Annotated[int, Field(description="Bytes of all files together.", examples=[936_190_112])]


def merge_shape(merge: Merge) -> MergeShape:
    place = f"/v1/merges/{merge.id}"
    predicted = {task: PredictedShape(score=found.score, low=found.low, high=found.high) for task, found in merge.predicted.items()}
    name = merge.id if merge.point is None else f"point-{merge.point}"
    fields: dict[str, Any] = {key: getattr(merge, key) for key in ("id", "point", "how", "digest", "created")}
    return MergeShape(
        **fields,
        study=merge.study_id,
        coefficients=list(merge.coefficients),
        predicted=predicted,
        search=dict(merge.search),
        report=dict(merge.report),
        links=MergeLinks(
            self=place, files=f"{place}/files", study=f"/v1/studies/{merge.study_id}", hub=f"{merge.study_id}/{name}"
        ),
    )
