"""Who asks, and what they may: bearer keys, looked at before a byte of the body is read."""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive

from app.api.lookups import lookups_of
from app.api.problems import ProblemError, problem_responses
from app.api.service import Service, service_of
from app.config import is_loopback
from app.domain.errors import NotFoundError
from app.domain.key import Key, Scope, digest_secret

SCOPE = "x-scope"
STREAM = "x-stream"
"""Marks (in `openapi_extra`) calls that read their body as a stream and bound it themselves."""
KEY_SECONDS = 5.0
"""For how long a key that was removed may still be taken."""

SECURITY: dict[str, Any] = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key, made by `mergefront key create`."},
}
"""What OpenAPI tells of keys."""
_UNAUTHORIZED = {"WWW-Authenticate": 'Bearer realm="mergefront"'}


@dataclass(frozen=True)
class Caller:
    """Who asks. The empty tenant is that of a service without keys."""

    tenant: str
    scope: Scope


class GuardedRoute(APIRoute):
    """A call that needs a key with its scope: read for GET and HEAD, write for the others, unless `x-scope` names another."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        # told to OpenAPI here: as a dependency of the framework's it would be gone through again with every request
        described = {"security": [{name: [] for name in SECURITY}], **(options.pop("openapi_extra", None) or {})}
        super().__init__(path, endpoint, openapi_extra=described, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        needed = scope_of(self)
        takes_json = not _only_reads(self) and STREAM not in (self.openapi_extra or {})

        async def guarded(request: Request) -> Response:
            request.state.caller = await _authorise(request, needed)
            return await handle(_bounded(request) if takes_json else request)

        return guarded


def guarded_router(prefix: str, tag: str) -> APIRouter:
    """A router whose every call needs a key; all routers of the service but health and pages are made here."""
    problems = problem_responses(401, 403, 422, 503)
    return APIRouter(prefix=prefix, tags=[tag], route_class=GuardedRoute, responses=problems)


def scope_of(route: APIRoute) -> Scope:
    """The scope that a call needs."""
    named = (route.openapi_extra or {}).get(SCOPE)
    if named is not None:
        return Scope(named)
    return Scope.READ if _only_reads(route) else Scope.WRITE


def _only_reads(route: APIRoute) -> bool:
    return set(route.methods or ()) <= {"GET", "HEAD"}


def caller_of(request: Request) -> Caller:
    """Who asks, of a call that is guarded."""
    found = request.state.caller
    assert isinstance(found, Caller)  # the guard puts it there
    return found


# both are coroutines because the framework would take plain functions to a thread, which costs more than all they do
async def _caller_of(request: Request) -> Caller:
    return caller_of(request)


async def _service_of(request: Request) -> Service:
    return service_of(request)


CallerOf = Annotated[Caller, Depends(_caller_of)]
ServiceOf = Annotated[Service, Depends(_service_of)]


class KeyRing:
    """The keys of the catalog, remembered for KEY_SECONDS."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Key]] = {}

    def recall(self, digest: str) -> Key | None:
        """The key, if it was looked up lately."""
        found = self._known.get(digest)
        return found[1] if found and found[0] > time.monotonic() else None

    def look_up(self, service: Service, digest: str) -> Key:
        """Raises NotFoundError."""
        if len(self._known) > 10_000:
            self._known.clear()
        key = service.catalog.key(digest)
        self._known[digest] = time.monotonic() + KEY_SECONDS, key
        return key


async def _authorise(request: Request, needed: Scope) -> Caller:
    service = service_of(request)
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if not scheme:
        return await _without_key(request, service)
    if scheme.lower() != "bearer" or not secret.strip():
        raise ProblemError(401, "expected `Authorization: Bearer KEY`", headers=_UNAUTHORIZED)
    key = await _known_key(request, service, digest_secret(secret.strip()))
    if not key.scope.covers(needed):
        raise ProblemError(403, f"this call needs the scope {needed}, the key has {key.scope}", headers=_UNAUTHORIZED)
    return Caller(key.tenant, key.scope)


async def _without_key(request: Request, service: Service) -> Caller:
    """Everything, on a service without keys that only this machine can reach."""
    # a name that is not this machine's came through a page of somebody else's (DNS rebinding)
    if service.settings.loopback and is_loopback(request.url.hostname or "") and not await run_in_threadpool(service.catalog.keys):
        return Caller("", Scope.ADMIN)
    raise ProblemError(401, "this service needs a key: `Authorization: Bearer KEY`", headers=_UNAUTHORIZED)


async def _known_key(request: Request, service: Service, digest: str) -> Key:
    ring: KeyRing = request.app.state.key_ring
    key = ring.recall(digest)
    if key is not None:
        return key
    try:
        return await lookups_of(request).find(("key", digest), lambda: ring.look_up(service, digest))
    except NotFoundError as error:
        raise ProblemError(401, "no such key", headers=_UNAUTHORIZED) from error


def _bounded(request: Request) -> Request:
    """The request, whose body is read up to the largest that is allowed."""
    limit = service_of(request).settings.body_bytes
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    return Request(request.scope, _counting(request.receive, limit), request._send)


def _counting(receive: Receive, limit: int) -> Receive:
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > limit:
            raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> ProblemError:
    return ProblemError(413, f"a JSON body holds {limit} bytes at most; weights and data go to /v1/uploads")
