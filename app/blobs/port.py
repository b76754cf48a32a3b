"""The port of bytes: content-addressed, immutable."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol


class Blobs(Protocol):
    """Bytes by the lower-case hexadecimal sha256 of their content; putting the same bytes twice stores them once."""

    def put(self, content: bytes) -> str:
        """Stores durably (on disk before it returns) and returns the digest."""

    def put_file(self, path: Path) -> str:
        """The same for a file, in bounded memory; the file is left as it is."""

    def has(self, digest: str) -> bool: ...

    def get(self, digest: str) -> bytes:
        """Raises NotFoundError."""

    def chunks(self, digest: str, size: int = 1 << 20) -> Iterator[bytes]:
        """Raises NotFoundError before the first chunk."""

    def local(self, digest: str) -> Path:
        """A file with that content on this machine, for readers that map files. Raises NotFoundError."""
