"""Bytes on their way in: files that grow, one an upload, until they are whole. Each has one writer at a time."""

import fcntl
import os
import shutil
from pathlib import Path

from app.blobs.durable import sync_directory, writable
from app.domain.errors import ConflictError, Fault, OffsetError, RefusedError


class Incoming:
    """A directory of growing files. May be shared by threads, and by processes of one machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def offset(self, name: str) -> int:
        """How many bytes are there, durably. Raises UnavailableError."""
        try:
            file = (self._root / name).open("rb")
        except FileNotFoundError:
            return 0
        with file, writable(self._root / name):
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_size

    def free(self) -> int:
        """Bytes that the disk has room for. Raises UnavailableError."""
        with writable(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
            return shutil.disk_usage(self._root).free

    def open(self, name: str, size: int) -> "Growing":
        """The file of that name, made where it is missing, for its only writer; it will have `size` bytes.

        Raises ConflictError while another writes to it, in whichever process.
        """
        path = self._root / name
        with writable(path):
            self._root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise ConflictError("somebody else is writing to this upload: wait, then ask for its offset") from error
        return Growing(path, descriptor, size)


class Growing:
    """One growing file, held until `release`, or until its process dies. All methods but `release` raise UnavailableError."""

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path = path
        self.offset = os.fstat(descriptor).st_size
        self._begin = self.offset
        self._descriptor = descriptor
        self._size = size

    def go_on(self, offset: int | None, length: int | None) -> None:
        """Prepares for `length` bytes at `offset`; None: anew from the first byte; a length that nobody told is None.

        Raises OffsetError where the file does not stand there, RefusedError for more bytes than belong to it.
        """
        if offset is None:
            self._truncate(0)
        elif offset != self.offset:
            raise OffsetError(f"the upload stands at byte {self.offset}, these bytes begin at {offset}: go on from there", self.offset)
        self._begin = self.offset
        if length is not None and self.offset + length > self._size:
            raise self._too_long()

    def write(self, piece: bytes) -> None:
        """Raises RefusedError for more bytes than belong to it; then those since `go_on` are dropped."""
        if self.offset + len(piece) > self._size:
            self._truncate(self._begin)
            raise self._too_long()
        rest = memoryview(piece)
        with writable(self.path):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        self.offset += len(piece)

    def sync(self) -> None:
        """What was written is on disk when it returns."""
        with writable(self.path):
            os.fsync(self._descriptor)
            sync_directory(self.path.parent)

    def discard(self) -> None:
        with writable(self.path):
            self.path.unlink(missing_ok=True)

    def release(self) -> None:
        os.close(self._descriptor)

    def _truncate(self, size: int) -> None:
        with writable(self.path):
            os.ftruncate(self._descriptor, size)
        self.offset = size

    def _too_long(self) -> RefusedError:
        return RefusedError([Fault("size", f"more bytes than the {self._size} that were announced")])
