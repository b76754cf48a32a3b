"""Digests: the lower-case hexadecimal sha256 of content, which is its name."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from app.domain.errors import UnavailableError

PIECE = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def pieces(path: Path, size: int = PIECE) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(size):
            yield piece


def checked(digest: str, content: Iterator[bytes], place: str) -> Iterator[bytes]:
    """The same pieces; after the last raises UnavailableError unless they have this digest."""
    found = hashlib.sha256()
    for piece in content:
        found.update(piece)
        yield piece
    if found.hexdigest() != digest:
        raise UnavailableError(f"{place} is damaged: its content is not what was stored there; remove it and store it again")
