"""The shape of a fine-tuning: the options of the command line and the body of a request."""

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, Literal

from pydantic import Field, ValidationError

from app.domain.errors import Fault
from app.domain.finetune import AdapterSpec, FinetuneSpec, TrainingSpec
from app.domain.task import SplitShares, TaskSpec
from app.manifest.faults import shape_faults
from app.manifest.schema import ArchitectureShape, Path, Shape, TaskShape
from app.manifest.translate import resolve, resolve_head, to_architecture


class AdapterShape(Shape):
    kind: Literal["lora", "llora", "tangent"] = "lora"
    rank: int = Field(default=8, ge=1, le=4096)
    alpha: float = Field(default=16.0, gt=0)
    targets: list[str] = []
    seed: int = Field(default=0, ge=0, lt=2**32)


class TrainingShape(Shape):
    epochs: int = Field(default=10, ge=1, le=100_000)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: float = Field(default=0.1, ge=0, le=1)
    batch: int = Field(default=32, ge=1)
    patience: int = Field(default=3, ge=1)
    held_out: float = Field(default=0.2, gt=0, lt=1)
    head: bool = False
    seed: int = Field(default=0, ge=0, lt=2**32)


class FinetuneShape(Shape):
    base: Path
    architecture: ArchitectureShape
    task: TaskShape
    adapter: AdapterShape = AdapterShape()
    training: TrainingShape = TrainingShape()


def parse_finetune(document: Mapping[str, Any], folder: FilePath) -> tuple[FinetuneSpec | None, list[Fault]]:
    """The spec that a document states, or the faults of its shape. Relative paths are taken from `folder`."""
    try:
        shape = FinetuneShape.model_validate(document)
    except ValidationError as error:
        return None, shape_faults(error, FinetuneShape)
    adapter = shape.adapter.model_dump() | {"targets": tuple(shape.adapter.targets)}
    spec = FinetuneSpec(
        base=resolve(shape.base, folder),
        architecture=to_architecture(shape.architecture, folder),
        task=_task(shape.task, folder),
        adapter=AdapterSpec(**adapter),
        training=TrainingSpec(**shape.training.model_dump()),
    )
    return spec, []


def _task(shape: TaskShape, folder: FilePath) -> TaskSpec:
    return TaskSpec(
        name="task",
        data=resolve(shape.data, folder),
        metric=shape.metric,
        split=SplitShares(**shape.split.model_dump()),
        head=None if shape.head is None else resolve_head(shape.head, folder),
        max_length=shape.max_length,
        batch=shape.batch,
    )
