"""What a study names, on this machine: every registered id in its spec becomes the path of files that can be opened here."""

import hashlib
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from app.blobs.port import Blobs
from app.blobs.remote import Remotes, is_remote
from app.domain.checkpoint import Checkpoint, Dataset
from app.domain.errors import Fault, GoneError, NotFoundError, RefusedError, UnavailableError
from app.domain.ids import is_registered
from app.domain.study import ModelSetSpec, Study, StudySpec
from app.domain.task import ExternalTask, Task
from app.store.catalog import Catalog
from checkpoints.acceptance import account_faults, stray_faults
from checkpoints.digest import digest_file, digest_layout
from checkpoints.layout import open_layout

Registered = TypeVar("Registered", Checkpoint, Dataset)


@dataclass(frozen=True)
class Source:
    """Where files come from. `place`: the directory that they are linked into. `remotes`: None where nothing is read from elsewhere."""

    blobs: Blobs
    place: Path
    remotes: Remotes | None = None


def local_spec(catalog: Catalog, source: Source, study: Study) -> StudySpec:
    """The study's spec with every registered id in it replaced by a path; its files are then linked below the source's `place`.

    Processes may share the place. Call it again before files are opened anew: a bounded cache may have let go of them meanwhile.
    Raises GoneError for what is no longer registered, RefusedError for what lies elsewhere and was changed since it was registered,
    UnavailableError where bytes cannot be had.
    """

    def weights(name: str) -> str:
        return str(local_weights(source, _registered(catalog, Checkpoint, study, name))) if is_registered(name) else name

    def file(name: str) -> str:
        if not is_registered(name):
            return name
        in_checkpoint = name.startswith("ckpt_")
        record = _registered(catalog, Checkpoint, study, name) if in_checkpoint else _registered(catalog, Dataset, study, name)
        return str(local_file(source, record))

    models = study.spec.models
    return replace(
        study.spec,
        models=ModelSetSpec(weights(models.base), {name: weights(tuned) for name, tuned in models.tuned.items()}),
        tasks=tuple(_local_task(task, file) for task in study.spec.tasks),
    )


def lay_out(place: Path, files: Mapping[str, str], local: Callable[[str], Path]) -> Path:
    """A directory below `place` that holds these files, each a link to what `local` gives; the same files are the same directory.

    `files`: by path, what `local` knows them by. Raises what `local` raises.
    """
    root = place / _name_of(files)
    for name, key in files.items():
        _link(root / name, local(key).resolve())
    return root


def local_files(source: Source, record: Checkpoint | Dataset) -> Path:
    """A directory with the files of what is registered, but for a reference to this machine: its own path. Raises as `local_spec`."""
    if not record.reference:
        return lay_out(source.place, record.files, source.blobs.local)
    if not is_remote(record.reference):
        return Path(record.reference)
    if source.remotes is None:
        raise UnavailableError(f"{record.reference} cannot be read here")
    return lay_out(source.place, record.files, partial(source.remotes.local, record.reference))


def local_weights(source: Source, checkpoint: Checkpoint) -> Path:
    """Where a checkpoint can be opened. Raises as `local_spec`, CheckpointError where a reference leads to nothing."""
    path = local_files(source, checkpoint)
    if is_remote(checkpoint.reference):
        _check_values(path)
    elif checkpoint.reference:
        _check_unchanged(checkpoint, digest_layout(open_layout(path)))
    return path


def local_file(source: Source, record: Checkpoint | Dataset) -> Path:
    """The one file that counts: a dataset's, or the weights of a checkpoint that a head is taken from. Raises as `local_weights`."""
    if isinstance(record, Checkpoint):
        path = local_weights(source, record)
        return path if path.is_file() else open_layout(path).files[0].path
    path = local_files(source, record)
    if record.files:
        return path / next(iter(record.files))
    _check_unchanged(record, digest_file(path))
    return path


def _registered(catalog: Catalog, kind: type[Registered], study: Study, name: str) -> Registered:
    try:
        return catalog.one(kind, study.tenant, name)
    except NotFoundError as error:
        raise GoneError(f"{name} was dropped: what {study.id} names is read no more; its records stay") from error


def _check_unchanged(record: Checkpoint | Dataset, digest: str) -> None:
    if digest != record.digest:
        problem = f"{record.reference} was changed since it was registered as {record.id}: register it anew"
        raise RefusedError([Fault("reference", problem)])


def _check_values(path: Path) -> None:
    """Reads once through what nobody read when it was registered."""
    checked = path / ".checked"
    if checked.exists():
        return
    layout = open_layout(path)
    faults = [Fault("reference", problem) for problem in (*stray_faults(layout), *account_faults(layout))]
    if faults:
        raise RefusedError(faults)
    checked.touch()


def _local_task(task: Task, file: Callable[[str], str]) -> Task:
    if isinstance(task, ExternalTask):
        return task
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
