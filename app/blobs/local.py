"""Bytes in a directory: `ab/cd/abcd...`, written under a temporary name, synced, renamed, and never changed after."""

import os
import secrets
import time
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

from app.blobs.digest import PIECE, checked, digest_of, digest_of_file, is_digest, pieces
from app.blobs.durable import sync_directory, writable
from app.blobs.port import Blobs
from app.domain.errors import NotFoundError

_INCOMING = ".incoming"
_DEBRIS_SECONDS = 24 * 3600


def open_blobs(root: Path) -> "LocalBlobs":
    """The blobs in directory `root`, which is made; what killed writers left there more than a day ago goes. Raises UnavailableError."""
    incoming = root / _INCOMING
    with writable(root):
        incoming.mkdir(parents=True, exist_ok=True)
        sync_directory(root.parent)
        for path in incoming.iterdir():
            _remove_debris(path)
    return LocalBlobs(root)


class LocalBlobs(Blobs):
    """May be shared by threads, and the directory by processes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, content: bytes) -> str:
        digest = digest_of(content)
        if not self._keeps(digest, len(content)):
            self._write([content])
        return digest

    def put_file(self, path: Path) -> str:
        # read twice: what is stored already is not written again
        digest, size = digest_of_file(path), path.stat().st_size
        return digest if self._keeps(digest, size) else self._write(pieces(path))

    def take(self, path: Path, digest: str) -> None:
        status = path.stat()
        if not self._keeps(digest, status.st_size) and status.st_dev == self._root.stat().st_dev:
            return self._move(path, digest)
        self.put_file(path)
        return path.unlink()

    def has(self, digest: str) -> bool:
        return is_digest(digest) and self._path(digest).is_file()

    def get(self, digest: str) -> bytes:
        return b"".join(self.chunks(digest))

    def chunks(self, digest: str, size: int = PIECE) -> Iterator[bytes]:
        path = self.local(digest)
        return checked(digest, pieces(path, size), str(path))

    def local(self, digest: str) -> Path:
        if not self.has(digest):
            raise NotFoundError(f"no blob {digest} in {self._root}")
        return self._path(digest)

    def delete(self, digest: str) -> None:
        path = self._path(digest)
        if self.has(digest):
            with writable(path):
                path.unlink(missing_ok=True)
                sync_directory(path.parent)

    def _path(self, digest: str) -> Path:
        return self._root / digest[:2] / digest[2:4] / digest

    def _keeps(self, digest: str, size: int) -> bool:
        """Whether it is here whole and durably, whoever wrote it."""
        path = self._path(digest)
        if not path.is_file() or path.stat().st_size != size:
            return False
        with writable(path):
            self._sync_way(path)
        return True

    def _write(self, content: Iterable[bytes]) -> str:
        incoming = self._root / _INCOMING / secrets.token_hex(16)
        try:
            with writable(self._root):
                digest = _write_synced(incoming, content)
                path = self._path(digest)
                path.parent.mkdir(parents=True, exist_ok=True)
                incoming.replace(path)
                self._sync_way(path)
            return digest
        finally:
            incoming.unlink(missing_ok=True)

    def _move(self, path: Path, digest: str) -> None:
        kept = self._path(digest)
        with writable(kept):
            kept.parent.mkdir(parents=True, exist_ok=True)
            path.chmod(0o444)
            path.replace(kept)
            self._sync_way(kept)

    def _sync_way(self, path: Path) -> None:
        # all three levels, since another process may have made one of them a moment ago and not synced it yet
        for directory in (path.parent, path.parent.parent, self._root):
            sync_directory(directory)


def _write_synced(path: Path, content: Iterable[bytes]) -> str:
    found = sha256()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444), "wb") as file:
        for piece in content:
            found.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return found.hexdigest()


def _remove_debris(path: Path) -> None:
    # the name comes from a directory others write to: it may be gone by now
    try:
        if time.time() - path.stat().st_mtime > _DEBRIS_SECONDS:
            path.unlink()
    except FileNotFoundError:
        return
