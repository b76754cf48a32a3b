"""Files elsewhere, in this process's memory: for tests."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from app.blobs.remote import Remote, RemoteFile
from app.domain.errors import NotFoundError


class MemoryRemote(Remote):
    """`contents`: by whole path, mem://place/model.safetensors. References are such a path, or the beginning of some up to a '/'."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self.contents = dict(contents)

    def files(self, reference: str) -> tuple[RemoteFile, ...]:
        found = {_name(path, reference): content for path, content in self.contents.items()}
        files = [RemoteFile(name, len(content), hashlib.md5(content).hexdigest()) for name, content in found.items() if name]
        if not files:
            raise NotFoundError(f"nothing at {reference}")
        return tuple(sorted(files, key=lambda file: file.name))

    def read(self, reference: str, file: RemoteFile, size: int) -> bytes:
        return self._content(reference, file)[:size]

    def fetch(self, reference: str, file: RemoteFile, path: Path) -> None:
        path.write_bytes(self._content(reference, file))

    def _content(self, reference: str, file: RemoteFile) -> bytes:
        for path, content in self.contents.items():
            if _name(path, reference) == file.name:
                return content
        raise NotFoundError(f"no {file.name} at {reference}")


def _name(path: str, reference: str) -> str:
    if path == reference:
        return path.rpartition("/")[2]
    return path.removeprefix(f"{reference}/") if path.startswith(f"{reference}/") else ""
