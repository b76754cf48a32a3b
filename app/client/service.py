"""Calls of a service over HTTP, with its problems as the errors that they were on the other side."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from app.domain.errors import (
    ConflictError,
    Fault,
    MergefrontError,
    NotFoundError,
    QuotaError,
    RefusedError,
    StorageFullError,
    UnavailableError,
)

SECONDS = 60.0
_HERE = frozenset({"127.0.0.1", "localhost", "::1"})

_PLAIN: Mapping[int, type[MergefrontError]] = {
    404: NotFoundError, 409: ConflictError, 429: QuotaError, 507: StorageFullError
}  # fmt: skip


class ServiceClient:
    """One service. Every call raises UnavailableError where it cannot be reached, and what the service says is wrong."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def get(self, path: str, **query: str | int) -> Any:
        """The JSON at `path`."""
        return self.call("GET", path, params=query).json()

    def post(self, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON that answers `body`."""
        return self.call("POST", path, json=body, headers=headers).json()

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self.http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise unreachable(self.http, error) from error
        if answer.is_error:
            raise error_of(answer)
        return answer


@contextmanager
def open_client(server: str, key: str = "") -> Iterator[ServiceClient]:
    """A client of the service at the URL `server`. Raises RefusedError for what is no URL."""
    url = httpx.URL(server)
    if url.scheme not in ("http", "https") or not url.host:
        raise RefusedError([Fault("--server", f"{server!r} is no URL of a service: http://HOST:PORT")])
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    # no proxy of the environment knows the way to this very machine
    with httpx.Client(base_url=url, headers=headers, timeout=SECONDS, trust_env=url.host not in _HERE) as http:
        yield ServiceClient(http)


def unreachable(http: httpx.Client, error: httpx.HTTPError) -> UnavailableError:
    reason = str(error) or type(error).__name__
    return UnavailableError(f"{http.base_url} cannot be reached: {reason}; is a service running there?")


def error_of(answer: httpx.Response) -> MergefrontError:
    """What the service says is wrong."""
    problem = _problem(answer)
    told = str(problem.get("detail") or f"{answer.status_code} {answer.reason_phrase}")
    if answer.status_code in (401, 403):
        return RefusedError([Fault("--key", told)])
    if answer.status_code in _PLAIN:
        return _PLAIN[answer.status_code](told)
    if answer.is_client_error:
        faults = [Fault(str(fault["where"]), str(fault["problem"])) for fault in problem.get("faults", [])]
        return RefusedError(faults or [Fault("", told)])
    return UnavailableError(f"{answer.request.url} answers {answer.status_code}: {told}")


def _problem(answer: httpx.Response) -> Mapping[str, Any]:
    if not answer.headers.get("content-type", "").startswith("application/problem+json"):
        return {}
    found: Mapping[str, Any] = answer.json()
    return found
