"""Bytes in this process's memory, for tests."""

from collections.abc import Iterator
from pathlib import Path

from app.blobs.digest import PIECE, digest_of
from app.blobs.port import Blobs
from app.domain.errors import NotFoundError


class MemoryBlobs(Blobs):
    """`scratch`: the directory for the files that `local` gives."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._contents: dict[str, bytes] = {}

    def put(self, content: bytes) -> str:
        digest = digest_of(content)
        self._contents[digest] = content
        return digest

    def put_file(self, path: Path) -> str:
        return self.put(path.read_bytes())

    def take(self, path: Path, digest: str) -> None:
        self._contents[digest] = path.read_bytes()
        path.unlink()

    def has(self, digest: str) -> bool:
        return digest in self._contents

    def get(self, digest: str) -> bytes:
        if digest not in self._contents:
            raise NotFoundError(f"no blob {digest} in memory")
        return self._contents[digest]

    def chunks(self, digest: str, size: int = PIECE) -> Iterator[bytes]:
        content = self.get(digest)
        return (content[start : start + size] for start in range(0, len(content), size))

    def local(self, digest: str) -> Path:
        content = self.get(digest)
        path = self._scratch / digest
        if not path.exists():  # a reader may have it mapped
            path.write_bytes(content)
        return path

    def delete(self, digest: str) -> None:
        if self._contents.pop(digest, None) is not None:
            (self._scratch / digest).unlink(missing_ok=True)
