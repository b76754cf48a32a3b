"""What a study names, on this machine: every registered id in its spec becomes the path of files that can be opened here."""

import hashlib
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from app.actions.admission import is_registered
from app.blobs.port import Blobs
from app.domain.checkpoint import Checkpoint, Dataset
from app.domain.study import ModelSetSpec, Study, StudySpec
from app.domain.task import TaskSpec
from app.store.catalog import Catalog


def local_spec(catalog: Catalog, blobs: Blobs, place: Path, study: Study) -> StudySpec:
    """The study's spec with every registered id in it replaced by a path; its files are then linked below `place`.

    Processes may share `place`. Call it again before files are opened anew: a bounded cache may have let go of them meanwhile.
    Raises NotFoundError for what is no longer registered, UnavailableError where bytes cannot be had.
    """

    def directory(name: str) -> str:
        if not name.startswith("ckpt_"):
            return name
        return str(lay_out(blobs, place, catalog.one(Checkpoint, study.tenant, name).files))

    def file(name: str) -> str:
        if not is_registered(name):
            return name
        kind = Checkpoint if name.startswith("ckpt_") else Dataset
        return str(lay_out_file(blobs, place, catalog.one(kind, study.tenant, name).files))

    models = study.spec.models
    return replace(
        study.spec,
        models=ModelSetSpec(directory(models.base), {name: directory(tuned) for name, tuned in models.tuned.items()}),
        tasks=tuple(_local_task(task, file) for task in study.spec.tasks),
    )


def lay_out(blobs: Blobs, place: Path, files: Mapping[str, str]) -> Path:
    """A directory below `place` that holds these files, each linked to its blob; the same files are the same directory.

    `files`: digests by path. Raises NotFoundError, UnavailableError.
    """
    root = place / _name_of(files)
    for name, digest in files.items():
        _link(root / name, blobs.local(digest).resolve())
    return root


def lay_out_file(blobs: Blobs, place: Path, files: Mapping[str, str]) -> Path:
    """The same for the one file that weighs anything: data, or the weights of a head, with what stands beside it."""
    root = lay_out(blobs, place, files)
    weights = [name for name in files if name.endswith(".safetensors")]
    return root / (weights[0] if len(weights) == 1 else next(iter(files)))


def _local_task(task: TaskSpec, file: Callable[[str], str]) -> TaskSpec:
    if task.head is None:
        return replace(task, data=file(task.data))
    name, mark, tensor = task.head.partition("#")
    return replace(task, data=file(task.data), head=file(name) + mark + tensor)


def _name_of(files: Mapping[str, str]) -> str:
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _link(path: Path, target: Path) -> None:
    if path.is_symlink() and path.readlink() == target:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{secrets.token_hex(8)}")
    fresh.symlink_to(target)
    os.replace(fresh, path)  # at once: another process may be making the same link
