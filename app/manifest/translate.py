"""From a manifest's checked shape to the domain's study spec, paths resolved."""

import re
from pathlib import Path

from app.domain.study import (
    Architecture,
    FactoryArchitecture,
    FrontSpec,
    MethodSpec,
    ModelSetSpec,
    SpaceSpec,
    StudySpec,
    TransformersArchitecture,
    TransformSpec,
)
from app.domain.task import ExternalTask, SplitShares, Task, TaskSpec
from app.manifest.schema import ArchitectureShape, ExternalTaskShape, ManifestShape, MethodShape, TaskShape, TransformShape

_REGISTERED = re.compile(r"^(ckpt|ds)_[0-9a-z]{26}$")


def translate(shape: ManifestShape, folder: Path) -> StudySpec:
    """The spec that a manifest states; relative paths are taken from `folder`, ids of registered things stay as they are."""
    return StudySpec(
        name=shape.name,
        models=ModelSetSpec(
            base=resolve(shape.models.base, folder),
            tuned={name: resolve(path, folder) for name, path in shape.models.tuned.items()},
        ),
        architecture=None if shape.architecture is None else to_architecture(shape.architecture, folder),
        tasks=tuple(_task(name, task, folder) for name, task in shape.tasks.items()),
        space=SpaceSpec(shape.space.low, shape.space.high, shape.space.groups),
        transform=_transform(shape.transform),
        method=_method(shape.method),
        front=FrontSpec(**shape.front.model_dump()),
        baselines=tuple(shape.baselines),
    )


def resolve(path: str, folder: Path) -> str:
    return path if _REGISTERED.match(path) else str((folder / path).resolve())


def to_architecture(shape: ArchitectureShape, folder: Path) -> Architecture:
    if shape.transformers is not None:
        return TransformersArchitecture(shape.transformers, shape.pooling, shape.normalize)
    assert shape.factory is not None  # the shape holds exactly one of the two
    file, _, callable_name = shape.factory.rpartition(":")
    return FactoryArchitecture(resolve(file, folder), callable_name)


def _method(shape: MethodShape) -> MethodSpec:
    given = [shape.preference] if shape.preference is not None else shape.preferences or []
    plain = shape.model_dump(exclude={"preference", "preferences"})
    return MethodSpec(**plain, preferences=tuple(dict(preference) for preference in given))


def _task(name: str, shape: TaskShape | ExternalTaskShape, folder: Path) -> Task:
    if isinstance(shape, ExternalTaskShape):
        given = shape.metric.external
        return ExternalTask(name, given.name, given.direction == "maximize", given.low, given.high, given.examples)
    return TaskSpec(
        name=name,
        data=resolve(shape.data, folder),
        metric=shape.metric,
        split=SplitShares(**shape.split.model_dump()),
        head=None if shape.head is None else resolve_head(shape.head, folder),
        max_length=shape.max_length,
        batch=shape.batch,
    )


def resolve_head(head: str, folder: Path) -> str:
    path, mark, name = head.partition("#")
    return resolve(path, folder) + mark + name


def _transform(shape: TransformShape | None) -> TransformSpec:
    if shape is None:
        return TransformSpec()
    if shape.ties is not None:
        return TransformSpec("ties", density=shape.ties.density)
    if shape.magnitude is not None:
        return TransformSpec("magnitude", density=shape.magnitude.density)
    assert shape.dare is not None  # the shape holds exactly one of the three
    return TransformSpec("dare", drop=shape.dare.drop, seed=shape.dare.seed)
