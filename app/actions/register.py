"""Checkpoints and datasets, registered: looked through once, at the door, and named by an id from then on."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TypeVar

from app.actions.localise import Source, lay_out, local_weights
from app.actions.remote import look_at_data, look_at_weights
from app.blobs.remote import is_remote
from app.datasets.check import input_value_faults
from app.datasets.read import read_dataset
from app.domain.checkpoint import Checkpoint, Dataset
from app.domain.errors import Fault, NotFoundError, RefusedError
from app.domain.ids import new_id
from app.store.catalog import Catalog
from checkpoints.acceptance import account_faults, check_fits, stray_faults
from checkpoints.digest import digest_file, digest_layout
from checkpoints.errors import CheckpointError
from checkpoints.header import read_header
from checkpoints.layout import Layout, open_layout

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
_HEAD = re.compile(r"(^|\.)(weight|bias)$")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")

Registered = TypeVar("Registered", Checkpoint, Dataset)


@dataclass(frozen=True)
class Given:
    """What is to be registered: `files`, their digests by path, or a `reference` to where they lie. Exactly one of the two."""

    files: Mapping[str, str]
    reference: str = ""


@dataclass(frozen=True)
class Registry:
    """Where things are registered. `directories`: those that references may lead into."""

    catalog: Catalog
    source: Source
    directories: tuple[Path, ...] = ()


def register_checkpoint(registry: Registry, tenant: str, given: Given, base: str | None = None) -> Checkpoint:
    """The checkpoint of these files, the one there is where they were registered before. `base`: the id of one that it has to fit.

    Raises RefusedError with every fault, UnavailableError where a reference cannot be followed.
    """
    if is_remote(given.reference):
        return _once(registry.catalog, _remote_checkpoint(registry, tenant, given.reference, base))
    given, size = _admit(registry, tenant, given)
    layout = _open(_root(registry, given))
    faults = [Fault(_where(given), problem) for problem in stray_faults(layout)]
    faults += _faults(_where(given), account_faults(layout), layout.root)
    faults += [] if base is None else _misfits(registry, tenant, layout, base)
    if faults:
        raise RefusedError(faults)
    size = size or sum(file.path.stat().st_size for file in layout.files)
    digest = digest_layout(layout)
    made = Checkpoint(new_id("ckpt"), tenant, layout.kind, digest, size, datetime.now(UTC), given.files, given.reference)
    return _once(registry.catalog, made)


def register_dataset(registry: Registry, tenant: str, given: Given) -> Dataset:
    """The dataset in one file: examples, or the linear heads of tasks. Raises RefusedError with every fault, UnavailableError."""
    if is_remote(given.reference):
        return _once(registry.catalog, _remote_dataset(registry, tenant, given.reference))
    given, size = _admit(registry, tenant, given)
    if len(given.files) > 1:
        raise RefusedError([Fault("files", "a dataset is one file: register each on its own")])
    path = _root(registry, given) / next(iter(given.files), "")
    _check_data(path, _where(given))
    size = size or path.stat().st_size
    made = Dataset(new_id("ds"), tenant, digest_file(path), size, datetime.now(UTC), given.files, given.reference)
    return _once(registry.catalog, made)


def _remote_checkpoint(registry: Registry, tenant: str, reference: str, base: str | None) -> Checkpoint:
    if base is not None:
        raise RefusedError([Fault("base", "what lies elsewhere is held against its base when a study reads it: leave this out")])
    found = look_at_weights(registry.source.remotes, reference)
    return Checkpoint(new_id("ckpt"), tenant, found.kind, found.digest, found.size, datetime.now(UTC), found.files, reference)


def _remote_dataset(registry: Registry, tenant: str, reference: str) -> Dataset:
    found = look_at_data(registry.source.remotes, reference)
    return Dataset(new_id("ds"), tenant, found.digest, found.size, datetime.now(UTC), found.files, reference)


def _root(registry: Registry, given: Given) -> Path:
    if given.reference:
        return Path(given.reference)
    return lay_out(registry.source.place, given.files, registry.source.blobs.local)


def _admit(registry: Registry, tenant: str, given: Given) -> tuple[Given, int]:
    """What may be named, and the size of uploaded files."""
    if given.reference:
        return replace(given, reference=str(_allowed(registry, given.reference))), 0
    held = {holding.digest: holding.size for holding in registry.catalog.holdings(tenant, list(given.files.values()))}
    faults = list(_file_faults(given.files, held))
    if faults:
        raise RefusedError(faults)
    return given, sum(held[digest] for digest in given.files.values())


def _file_faults(files: Mapping[str, str], held: Mapping[str, int]) -> Iterator[Fault]:
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    for name, digest in files.items():
        where = f"files.{name}"
        if not all(_NAME.fullmatch(part) for part in name.split("/")):
            yield Fault(where, "a path within the checkpoint: letters, digits, '_', '.', '+', '-', parted by '/', none of them hidden")
        elif name in folders:
            yield Fault(where, "is a file and a folder of others at once")
        if name.lower().endswith(_PICKLES):
            yield Fault(where, "a pickle file, which can run code when read, is not taken: convert it to safetensors where you trust it")
        if digest not in held:
            yield Fault(where, f"these bytes are not stored: upload them first (sha256 {digest})")


def _allowed(registry: Registry, reference: str) -> Path:
    try:
        path = Path(reference).resolve()
        path.stat()
    except (OSError, ValueError) as error:
        raise RefusedError([Fault("reference", f"{reference!r} leads nowhere: {error}")]) from error
    if not any(path.is_relative_to(directory) for directory in registry.directories):
        problem = "the operator allows no files there: upload them, or name files of an allowed directory by their absolute path"
        raise RefusedError([Fault("reference", problem)])
    return path


def _open(root: Path) -> Layout:
    try:
        return open_layout(root)
    except CheckpointError as error:
        raise RefusedError(_faults("files", error.faults, root)) from error


def _misfits(registry: Registry, tenant: str, layout: Layout, base: str) -> list[Fault]:
    try:
        record = registry.catalog.one(Checkpoint, tenant, base)
        check_fits(layout, open_layout(local_weights(registry.source, record)))
    except NotFoundError as error:
        return [Fault("base", str(error))]
    except CheckpointError as error:
        return _faults("base", error.faults, layout.root)
    return []


def _check_data(path: Path, where: str) -> None:
    try:
        faults = _head_faults(path, where) if _holds_heads(path) else input_value_faults(read_dataset(path, where), where)
    except RefusedError as error:
        raise RefusedError(_faults(where, [fault.problem for fault in error.faults], path.parent)) from error
    except CheckpointError as error:
        raise RefusedError(_faults(where, error.faults, path.parent)) from error
    if faults:
        raise RefusedError(faults)


def _holds_heads(path: Path) -> bool:
    """Whether a file holds linear heads instead of examples: nothing but weights and biases."""
    return path.suffix == ".safetensors" and all(_HEAD.search(name) for name in read_header(path).tensors)


def _head_faults(path: Path, where: str) -> list[Fault]:
    return [Fault(where, problem) for problem in stray_faults(open_layout(path))]


def _once(catalog: Catalog, made: Registered) -> Registered:
    for there in catalog.with_digest(type(made), made.tenant, made.digest):
        if (there.files, there.reference) == (made.files, made.reference):
            return there
    catalog.register(made)
    return made


def _where(given: Given) -> str:
    return "reference" if given.reference else "files"


def _faults(where: str, problems: Sequence[str], root: Path) -> list[Fault]:
    """Problems without the place where the files happen to lie."""
    return [Fault(where, problem.replace(f"{root}/", "").replace(f"{root}: ", "")) for problem in problems]
