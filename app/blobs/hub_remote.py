"""Files of repositories on a model hub, at one commit, read where they lie."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from huggingface_hub import HfFileSystem
from huggingface_hub.errors import HfHubHTTPError

from app.blobs.remote import Remote, RemoteFile
from app.domain.errors import Fault, NotFoundError, RefusedError, UnavailableError

_REFERENCE = re.compile(r"hf://((?:[\w.-]+/)?[\w.-]+@[0-9a-f]{40})(?:/([\w./+-]+))?")


class HubRemote(Remote):
    """References are hf://REPOSITORY@COMMIT, all its files, or hf://REPOSITORY@COMMIT/PATH, that one. May be shared by threads.

    Token and address of the hub are found as every tool of it finds them, unless `endpoint` names another hub.
    """

    def __init__(self, endpoint: str | None = None) -> None:
        self._endpoint = endpoint

    def files(self, reference: str) -> tuple[RemoteFile, ...]:
        root, path = _parts(reference)
        with _reachable(reference):
            found = self._system().find(root, detail=True)
        assert isinstance(found, dict)  # with detail it is
        named = {name.removeprefix(f"{root}/"): entry for name, entry in found.items()}
        files = [RemoteFile(name, entry["size"], entry["blob_id"]) for name, entry in named.items() if path in ("", name)]
        if not files:
            raise NotFoundError(f"nothing at {reference}")
        return tuple(sorted(files, key=lambda file: file.name))

    def read(self, reference: str, file: RemoteFile, size: int) -> bytes:
        end = min(size, file.size)
        if not end:
            return b""
        with _reachable(reference):
            content: bytes = self._system().cat_file(f"{_parts(reference)[0]}/{file.name}", start=0, end=end)
        return content

    def fetch(self, reference: str, file: RemoteFile, path: Path) -> None:
        with _reachable(reference):
            self._system().get_file(f"{_parts(reference)[0]}/{file.name}", str(path))

    def _system(self) -> HfFileSystem:
        # a fresh one: what it remembers of repositories would grow with every one that is asked for
        return HfFileSystem(endpoint=self._endpoint, skip_instance_cache=True)


def _parts(reference: str) -> tuple[str, str]:
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        problem = f"expected hf://REPOSITORY@COMMIT with all 40 digits of the commit, got {reference!r}"
        raise RefusedError([Fault("reference", problem)])
    return found[1], found[2] or ""


@contextmanager
def _reachable(reference: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"nothing at {reference}") from error
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        raise UnavailableError(f"{reference} cannot be read: {error}") from error
