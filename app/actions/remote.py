"""What lies elsewhere, looked at without copying it: names, sizes, headers and settings, but no weights.

Workers read the rest, and find out there whether values are finite and fit.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.blobs.remote import Remote, RemoteFile, Remotes, key_of
from app.datasets.tables import TABLES
from app.domain.checkpoint import CheckpointKind
from app.domain.errors import Fault, NotFoundError, RefusedError
from checkpoints.errors import CheckpointError
from checkpoints.header import MAX_HEADER_BYTES, PREFIX_BYTES
from checkpoints.layout import open_layout

WEIGHTS = ".safetensors"
# beside the weights: settings and tokenizers, as a model's directory holds them
_SMALL = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".bpe", ".spm", ".md")
_MOST_BYTES = 32 << 20


@dataclass(frozen=True)
class Found:
    """Files elsewhere. `files`: by path, what they are known by here; `digest`: of all of that; `size`: bytes."""

    kind: CheckpointKind
    digest: str
    size: int
    files: Mapping[str, str]


def look_at_weights(remotes: Remotes | None, reference: str) -> Found:
    """The checkpoint at a reference, its headers checked. Raises RefusedError with every fault, UnavailableError."""
    remote = _remote(remotes, reference)
    chosen = [file for file in _listed(remote, reference) if _is_wanted(file)]
    with tempfile.TemporaryDirectory() as folder:
        try:
            for file in chosen:
                _sketch(remote, reference, file, Path(folder))
            kind = open_layout(Path(folder)).kind
        except CheckpointError as error:
            raise RefusedError([_fault(problem.replace(folder, reference)) for problem in error.faults]) from error
        except OSError as error:
            raise RefusedError([_fault(f"{reference} cannot be files of one directory: {error.strerror}")]) from error
    return _found(kind, reference, chosen)


def look_at_data(remotes: Remotes | None, reference: str) -> Found:
    """The one data file at a reference. Raises as `look_at_weights`."""
    files = _listed(_remote(remotes, reference), reference)
    if len(files) != 1 or not files[0].name.endswith((WEIGHTS, *TABLES)):
        raise RefusedError([_fault(f"a dataset is one file that ends in one of {', '.join((WEIGHTS, *TABLES))}")])
    return _found("full", reference, files)


def _remote(remotes: Remotes | None, reference: str) -> Remote:
    if remotes is None:
        raise RefusedError([_fault("nothing is read from elsewhere here: upload the files")])
    return remotes.of(reference)


def _listed(remote: Remote, reference: str) -> tuple[RemoteFile, ...]:
    try:
        return remote.files(reference)
    except NotFoundError as error:
        raise RefusedError([_fault(str(error))]) from error


def _is_wanted(file: RemoteFile) -> bool:
    parts = Path(file.name).parts
    hidden = any(part.startswith(".") for part in parts) or file.name.startswith("/")
    small = file.name.endswith(_SMALL) and file.size <= _MOST_BYTES
    return not hidden and (small or (file.name.endswith(WEIGHTS) and len(parts) == 1))


def _sketch(remote: Remote, reference: str, file: RemoteFile, folder: Path) -> None:
    """A file of the same size whose beginning is that of the remote one, and whose weights are holes."""
    path = folder / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as target:
        target.writelines(_beginning(remote, reference, file) if file.name.endswith(WEIGHTS) else [remote.read(reference, file, file.size)])
    os.truncate(path, file.size)


def _beginning(remote: Remote, reference: str, file: RemoteFile) -> Iterator[bytes]:
    prefix = remote.read(reference, file, PREFIX_BYTES)
    length = int.from_bytes(prefix, "little")
    yield remote.read(reference, file, PREFIX_BYTES + length) if length <= MAX_HEADER_BYTES else prefix


def _found(kind: CheckpointKind, reference: str, files: "tuple[RemoteFile, ...] | list[RemoteFile]") -> Found:
    keys = {file.name: key_of(reference, file) for file in files}
    digest = hashlib.sha256("".join(f"{key}  {name}\n" for name, key in sorted(keys.items())).encode()).hexdigest()
    return Found(kind, digest, sum(file.size for file in files), keys)


def _fault(problem: str) -> Fault:
    return Fault("reference", problem)
