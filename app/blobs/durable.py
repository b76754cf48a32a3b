"""Writing so that it stays written, and what it means when a disk says no."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.domain.errors import StorageFullError, UnavailableError

_FULL = (errno.ENOSPC, errno.EDQUOT)


def sync_directory(path: Path) -> None:
    """Makes durable that files were made, renamed or removed in a directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writable(place: Path) -> Iterator[None]:
    """Raises UnavailableError for every OSError of the block; StorageFullError where there is no room."""
    try:
        yield
    except OSError as error:
        kind = StorageFullError if error.errno in _FULL else UnavailableError
        raise kind(f"cannot store in {place}: {error}") from error
