"""Files brought here from elsewhere: kept while there is room, those used least lately given up first."""

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.blobs.durable import writable

IN_USE_SECONDS = 600.0
"""For so long after it was asked for a file is never given up: somebody is about to open it."""
_INCOMING, _LOCKS = ".incoming", ".locks"


class Cache:
    """A directory of files by key, of `limit` bytes in all but for those in use. May be shared by threads and by processes.

    A key is 64 hexadecimal digits and says all of the content. What was opened stays readable when it is given up.
    """

    def __init__(self, root: Path, limit: int) -> None:
        self._root = root
        self._limit = limit

    def path(self, key: str, fetch: Callable[[Path], None]) -> Path:
        """The file of `key`, which `fetch` writes where it is not here; whoever asks meanwhile waits. Raises UnavailableError."""
        path = self._root / key[:2] / key
        if _touched(path):
            return path
        with self._locked(key[:2]):
            if not _touched(path):
                self._bring(path, fetch)
        self._make_room()
        return path

    def drop(self, key: str) -> None:
        """Gives up the file of `key`, on this machine."""
        path = self._root / key[:2] / key
        with writable(path):
            path.unlink(missing_ok=True)

    def _bring(self, path: Path, fetch: Callable[[Path], None]) -> None:
        incoming = self._root / _INCOMING / secrets.token_hex(16)
        try:
            with writable(self._root):
                incoming.parent.mkdir(parents=True, exist_ok=True)
                path.parent.mkdir(parents=True, exist_ok=True)
            fetch(incoming)
            with writable(path):
                incoming.replace(path)
        finally:
            incoming.unlink(missing_ok=True)

    def _make_room(self) -> None:
        found = sorted(self._kept())
        excess = sum(size for _, size, _ in found) - self._limit
        for used, size, path in found:
            if excess <= 0 or used > time.time() - IN_USE_SECONDS:
                return
            path.unlink(missing_ok=True)
            excess -= size

    def _kept(self) -> Iterator[tuple[float, int, Path]]:
        # another process may give a file up while we look; what a killed one was bringing counts, and goes like the rest
        for path in self._root.rglob("*"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            if path.is_file() and path.parent.name != _LOCKS:
                yield max(status.st_atime, status.st_mtime), status.st_size, path

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        locks = self._root / _LOCKS
        with writable(locks):
            locks.mkdir(parents=True, exist_ok=True)
            file = (locks / name).open("w")
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _touched(path: Path) -> bool:
    """Whether it is here; notes that it was used, without looking changed."""
    try:
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
    except FileNotFoundError:
        return False
    return True
