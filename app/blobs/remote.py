"""The port of places whose files are read where they lie (a bucket, a model hub), and what is kept of them here."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.blobs.cache import Cache
from app.domain.errors import Fault, RefusedError


@dataclass(frozen=True)
class RemoteFile:
    """A file by its path below a reference. `mark`: another one whenever the content is another."""

    name: str
    size: int
    mark: str


class Remote(Protocol):
    """Files below references such as s3://bucket/prefix. UnavailableError where the place does not serve."""

    def files(self, reference: str) -> tuple[RemoteFile, ...]:
        """What lies there, in order of name. Raises RefusedError for what is no reference of this place, NotFoundError for nothing."""

    def read(self, reference: str, file: RemoteFile, size: int) -> bytes:
        """The first `size` bytes, or all where there are fewer. Raises NotFoundError."""

    def fetch(self, reference: str, file: RemoteFile, path: Path) -> None:
        """Writes the whole file to `path`, in bounded memory. Raises NotFoundError."""


class Remotes:
    """The places that the operator allows: `remotes` by what references begin with, longest first. Files come through `cache`."""

    def __init__(self, remotes: Mapping[str, Remote], cache: Cache) -> None:
        self._remotes = dict(sorted(remotes.items(), key=lambda item: -len(item[0])))
        self._cache = cache

    def of(self, reference: str) -> Remote:
        """The place that a reference leads to. Raises RefusedError where the operator allows none."""
        for start, remote in self._remotes.items():
            if f"{reference}/".startswith(start):
                return remote
        allowed = f"; allowed: {', '.join(self._remotes)}" if self._remotes else ""
        raise RefusedError([Fault("reference", f"the operator allows no files there: upload them{allowed}")])

    def local(self, reference: str, key: str) -> Path:
        """The file that `key_of` gave this key, on this machine. Raises RefusedError where it is gone or was changed, UnavailableError."""
        return self._cache.path(key, lambda path: self._bring(reference, key, path))

    def _bring(self, reference: str, key: str, path: Path) -> None:
        remote = self.of(reference)
        for file in remote.files(reference):
            if key_of(reference, file) == key:
                return remote.fetch(reference, file, path)
        raise RefusedError([Fault("reference", f"{reference} was changed since it was registered: register it anew")])


def is_remote(reference: str) -> bool:
    return "://" in reference


def key_of(reference: str, file: RemoteFile) -> str:
    """What a remote file is known by here: a digest that changes whenever the file does."""
    return hashlib.sha256(f"{reference}\n{file.name}\n{file.size}\n{file.mark}".encode()).hexdigest()
