"""Checkpoints and datasets as clients see them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.actions.register import Given
from app.api.schemas.upload import SHA256, Digest
from app.domain.checkpoint import Checkpoint, Dataset

CHECKPOINT_ID = "ckpt_01jd8e5v7hk2m3n4p5q6r7s8t9"
DATASET_ID = "ds_01jd8e5v7hk2m3n4p5q6r7s8t9"

Files = Annotated[dict[str, Digest], Field(description="sha256 of each file, by its path within.", max_length=1000)]
Reference = Annotated[
    str | None,
    Field(
        description="Where they lie instead, if the operator allows it: a path, s3://BUCKET/PREFIX, hf://REPOSITORY@COMMIT.",
        min_length=1, max_length=4096,
    ),
]


class Registration(BaseModel):
    """Uploaded files by their digests, or a reference to files that lie where workers can read them: one of the two."""

    model_config = ConfigDict(extra="forbid", strict=True)

    files: Annotated[Files, Field(examples=[{"model.safetensors": SHA256}])] = {}
    reference: Annotated[Reference, Field(examples=[None])] = None

    @model_validator(mode="after")
    def _one_of(self) -> "Registration":
        if bool(self.files) == (self.reference is not None):
            raise ValueError("give exactly one of files and reference")
        return self

    def given(self) -> Given:
        return Given(dict(sorted(self.files.items())), self.reference or "")


class CheckpointRegistration(Registration):
    """A checkpoint: weights as safetensors, with what stands beside them (config.json, tokenizer, adapter_config.json)."""

    base: Annotated[
        str | None, Field(description="Id of the checkpoint that it has to fit.", pattern="^ckpt_[0-9a-z]{26}$", examples=[None])
    ] = None


class DatasetRegistration(Registration):
    """Examples in one file (.safetensors, .jsonl, .csv, .parquet), or the linear heads of tasks (.safetensors)."""

    files: Annotated[Files, Field(examples=[{"mnist.safetensors": SHA256}])] = {}


class _Registered(BaseModel):
    digest: Annotated[str, Field(description="sha256 of what counts in it: the name of its content.", examples=[SHA256])]
    size: Annotated[int, Field(description="Bytes.", examples=[91_000_000])]
    created: Annotated[datetime, Field(description="UTC.", examples=["2026-01-02T03:04:05.678901Z"])]
    files: Annotated[dict[str, str], Field(description="sha256 of each file, by its path.", examples=[{"model.safetensors": SHA256}])]
    reference: Annotated[str | None, Field(description="Where the files lie, if not here.", examples=[None])]


class CheckpointShape(_Registered):
    """A registered checkpoint; it never changes."""

    id: Annotated[str, Field(description="What studies name it by.", examples=[CHECKPOINT_ID])]
    kind: Annotated[Literal["full", "lora", "tangent"], Field(description="Whole weights, or what kind of adapter.", examples=["full"])]


class DatasetShape(_Registered):
    """A registered dataset; it never changes."""

    id: Annotated[str, Field(description="What studies name it by; heads in it as ID#NAME.", examples=[DATASET_ID])]


class CheckpointPage(BaseModel):
    """A page of checkpoints, oldest first."""

    items: list[CheckpointShape]
    next: Annotated[str | None, Field(description="Cursor of the next page; null at the end.", examples=[None])]


class DatasetPage(BaseModel):
    """A page of datasets, oldest first."""

    items: list[DatasetShape]
    next: Annotated[str | None, Field(description="Cursor of the next page; null at the end.", examples=[None])]


def checkpoint_shape(found: Checkpoint) -> CheckpointShape:
    return CheckpointShape(
        id=found.id, kind=found.kind, digest=found.digest, size=found.size, created=found.created, files=dict(found.files),
        reference=found.reference or None,
    )  # fmt: skip


def dataset_shape(found: Dataset) -> DatasetShape:
    return DatasetShape(
        id=found.id, digest=found.digest, size=found.size, created=found.created, files=dict(found.files),
        reference=found.reference or None,
    )  # fmt: skip
