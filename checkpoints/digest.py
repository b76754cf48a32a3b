"""What a checkpoint is addressed by: sha256 over the bytes of its files."""

import hashlib
from functools import lru_cache
from pathlib import Path

from checkpoints.errors import LayoutError
from checkpoints.layout import ADAPTER_CONFIG, Layout


def digest_layout(layout: Layout) -> str:
    """The sha256 that names a checkpoint: over the lines "sha256  name" of its weight files, its index and an adapter's configuration.

    Files are read once and remembered until their size or time of change differs. Raises LayoutError for one that cannot be read.
    """
    paths = [file.path for file in layout.files]
    paths += [layout.index] if layout.index else []
    paths += [layout.root / ADAPTER_CONFIG] if layout.kind != "full" else []
    lines = "".join(f"{digest_file(path)}  {path.name}\n" for path in paths)
    return hashlib.sha256(lines.encode()).hexdigest()


def digest_file(path: Path) -> str:
    """sha256 of one file, streamed. Raises LayoutError where it cannot be read."""
    try:
        status = path.stat()
        return _digest(path.resolve(), status.st_ino, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise LayoutError(f"{path}: cannot be read: {error.strerror}") from error


@lru_cache(maxsize=4096)
def _digest(path: Path, inode: int, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
