"""Following a study: its events as they happen, whatever becomes of the connection meanwhile."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from app.client.service import ServiceClient, error_of, unreachable
from app.domain.errors import UnavailableError

PATIENCE_SECONDS = 120.0
"""For how long a service may be out of reach."""
RETRY_SECONDS = 1.0
_ENDED = 204
# the service says at least every 15 s that it is still there
_TIMEOUT = httpx.Timeout(60.0, read=60.0)


@dataclass(frozen=True)
class Told:
    """An event of a study, numbered from 1 without gaps."""

    number: int
    kind: str
    data: dict[str, Any]


def follow(service: ServiceClient, study_id: str) -> Iterator[Told]:
    """Every event until the study has ended, each once. Raises UnavailableError where the service stays away."""
    last, away_since = 0, None
    while True:
        try:
            for event in _events(service, study_id, last):
                last, away_since = event.number, None
                yield event
        except _EndedError:
            return
        except UnavailableError:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > PATIENCE_SECONDS:
                raise
            time.sleep(RETRY_SECONDS)


class _EndedError(Exception):
    """There will be no further event."""


def _events(service: ServiceClient, study_id: str, after: int) -> Iterator[Told]:
    try:
        with service.http.stream("GET", f"/v1/studies/{study_id}/events", params={"after": after}, timeout=_TIMEOUT) as answer:
            if answer.status_code == _ENDED:
                raise _EndedError
            if answer.is_error:
                answer.read()
                raise error_of(answer)
            yield from _parsed(answer.iter_lines())
    except httpx.HTTPError as error:
        raise unreachable(service.http, error) from error


def _parsed(lines: Iterator[str]) -> Iterator[Told]:
    """Events of a stream (WHATWG, server-sent events), whose data the service writes on one line."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
        elif not line and "id" in fields:
            yield Told(int(fields["id"]), fields["event"], json.loads(fields["data"]))
            fields = {}
