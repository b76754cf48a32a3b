"""The port of bytes: content-addressed, immutable."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol


class Blobs(Protocol):
    """Bytes by the lower-case hexadecimal sha256 of their content; putting the same bytes twice stores them once.

    UnavailableError where the place of the bytes cannot be reached or is full (nothing is left of the attempt), and for damaged content.
    """

    def put(self, content: bytes) -> str:
        """Stores durably (on disk before it returns) and returns the digest."""

    def put_file(self, path: Path) -> str:
        """The same for a file, in bounded memory; the file is left as it is. Raises OSError where it cannot be read."""

    def take(self, path: Path, digest: str) -> None:
        """Takes over a file on disk that is known to have this digest: moved rather than copied where that can be, gone afterwards."""

    def has(self, digest: str) -> bool:
        """False also for what is no digest."""

    def get(self, digest: str) -> bytes:
        """The content, checked against its digest. Raises NotFoundError."""

    def chunks(self, digest: str, size: int = 1 << 20) -> Iterator[bytes]:
        """The content in pieces of at most `size` bytes; that it was damaged shows after the last. Raises NotFoundError when called."""

    def local(self, digest: str) -> Path:
        """A file with that content on this machine, unchecked, for readers that map files; not to be changed. Raises NotFoundError."""

    def delete(self, digest: str) -> None:
        """The content is there no more; done also where it was not. Whoever has opened it reads on. Nobody may be putting it meanwhile."""
