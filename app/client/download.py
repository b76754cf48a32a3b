"""Fetching what a service computes or keeps."""

from pathlib import Path

import httpx

from app.client.service import ServiceClient, error_of, unreachable

PART = ".part"


def download(service: ServiceClient, path: str, target: Path) -> None:
    """The bytes at `path` in the file `target`, which is there once they all are. Raises UnavailableError, NotFoundError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + PART)
    try:
        with service.http.stream("GET", path) as answer:
            if answer.is_error:
                answer.read()
                raise error_of(answer)
            with part.open("wb") as file:
                for piece in answer.iter_bytes():
                    file.write(piece)
    except httpx.HTTPError as error:
        raise unreachable(service.http, error) from error
    part.replace(target)
