"""What a study is made from, by content: two studies are the same when they ask the same of the same bytes."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from app.domain.study import Architecture, FactoryArchitecture, ModelSetSpec, StudySpec
from app.domain.task import ExternalTask, Task
from checkpoints.digest import digest_file, digest_layout
from checkpoints.layout import open_layout


def digest_inputs(spec: StudySpec) -> dict[str, str]:
    """The sha256 of every input, by the key that names it (`models.tuned.mnist`).

    Raises CheckpointError for weights that cannot be read.
    """
    digests = {key: digest_layout(open_layout(Path(path))) for key, path in _weights(spec)}
    return digests | {key: digest_file(Path(path)) for key, path in _files(spec)}


def fingerprint(spec: StudySpec, digests: Mapping[str, str]) -> str:
    """One digest of what is asked and of what; where the files lie does not enter."""
    tuned = {name: digests[f"models.tuned.{name}"] for name in spec.models.tuned}
    moved = replace(
        spec,
        models=ModelSetSpec(digests["models.base"], tuned),
        tasks=tuple(_task_mark(task, digests) for task in spec.tasks),
        architecture=_architecture_mark(spec, digests),
    )
    return hashlib.sha256(json.dumps(asdict(moved), sort_keys=True).encode()).hexdigest()


def _weights(spec: StudySpec) -> Iterator[tuple[str, str]]:
    yield "models.base", spec.models.base
    yield from ((f"models.tuned.{name}", path) for name, path in spec.models.tuned.items())


def _files(spec: StudySpec) -> Iterator[tuple[str, str]]:
    if isinstance(spec.architecture, FactoryArchitecture):
        yield "architecture.factory", spec.architecture.file
    for task in spec.tasks_here:
        yield f"tasks.{task.name}.data", task.data
        if task.head is not None:
            yield f"tasks.{task.name}.head", task.head.partition("#")[0]


def _task_mark(task: Task, digests: Mapping[str, str]) -> Task:
    if isinstance(task, ExternalTask):
        return task
    head = _head_mark(task.head, digests.get(f"tasks.{task.name}.head"))
    return replace(task, data=digests[f"tasks.{task.name}.data"], head=head)


def _head_mark(head: str | None, digest: str | None) -> str | None:
    return None if head is None else f"{digest}#{head.partition('#')[2]}"


def _architecture_mark(spec: StudySpec, digests: Mapping[str, str]) -> Architecture | None:
    if isinstance(spec.architecture, FactoryArchitecture):
        return replace(spec.architecture, file=digests["architecture.factory"])
    return spec.architecture
