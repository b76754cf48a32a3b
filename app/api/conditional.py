"""ETag and 304: what a client has already is not sent again."""

import hashlib

from fastapi import Request, Response

CACHING = "private, no-cache"
"""Kept by the client alone, and asked about every time."""


def etag_of(*parts: object) -> str:
    """A strong validator of everything that the representation follows from."""
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
    return f'"{digest[:32]}"'


def not_modified(request: Request, etag: str) -> Response | None:
    """The answer to a client that has this very representation; None for every other."""
    asked = request.headers.get("if-none-match")
    if asked is None:
        return None
    tags = {tag.strip().removeprefix("W/") for tag in asked.split(",")}
    return Response(status_code=304, headers=headers_of(etag)) if etag in tags or "*" in tags else None


def headers_of(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": CACHING, "Vary": "Accept, Authorization"}
