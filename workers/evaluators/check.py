"""Everything that is wrong with what a manifest names, before any work."""

from collections.abc import Iterator
from pathlib import Path

from app.domain.errors import Fault, RefusedError
from app.domain.study import ModelSetSpec, StudySpec
from checkpoints.errors import CheckpointError
from checkpoints.finite import BLOCK, count_stray
from checkpoints.layout import Layout, open_layout
from checkpoints.read import MappedTensors
from workers.evaluators.content import read_content


def check_study(spec: StudySpec) -> list[Fault]:
    """All faults of the files that `spec` names and of how they fit together, each with the path of its key; none: it can run.

    Reads every weight once (a NaN would spread over every merge) and every example; runs no more than one example of a factory's module.
    """
    faults: list[Fault] = []
    try:
        read_content(spec)
    except RefusedError as error:
        faults.extend(error.faults)
    for where, layout in _readable(spec.models):
        faults.extend(Fault(where, problem) for problem in _not_finite(MappedTensors(layout)))
    return faults


def _readable(models: ModelSetSpec) -> Iterator[tuple[str, Layout]]:
    paths = {"models.base": models.base} | {f"models.tuned.{name}": path for name, path in models.tuned.items()}
    for where, path in paths.items():
        try:
            yield where, open_layout(Path(path))
        except CheckpointError:
            continue  # told already, by read_content


def _not_finite(tensors: MappedTensors) -> Iterator[str]:
    for name, place in tensors.layout.tensors.items():
        size = place.entry.elements if place.entry.floating else 0
        strays = sum(count_stray(tensors.flat(name, start, min(start + BLOCK, size))) for start in range(0, size, BLOCK))
        if strays:
            yield f"{name}: {strays} of {size} values are NaN or infinite"
