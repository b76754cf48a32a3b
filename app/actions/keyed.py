"""Requests carried out once, however often they are sent (draft-ietf-httpapi-idempotency-key-header)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from app.domain.errors import ConflictError, Fault, MergefrontError, NotFoundError, RefusedError
from app.domain.request import KeyedRequest
from app.store.catalog import Catalog

Made = TypeVar("Made")
STALE = timedelta(seconds=60)
"""How long a request may be carried out before whoever sends it again takes it over."""



class InProgressError(ConflictError):
    """The same request is being carried out right now."""

    code = "in_progress"


class KeyReusedError(RefusedError):
    """The key was used for something else."""

    code = "key_reused"


def carry_out_once(catalog: Catalog, request: KeyedRequest, make: Callable[[str], Made], find: Callable[[str], Made]) -> Made:
    """What `make` makes under the id that the request was given first, or what it made before.

    `find` looks the id up and raises NotFoundError. Raises InProgressError, KeyReusedError, and what `make` raises: then nothing is kept.
    """
    kept = catalog.begin_request(request, datetime.now(UTC) - STALE)
    if kept.fingerprint != request.fingerprint:
        raise KeyReusedError([Fault("Idempotency-Key", "this key was used with another request: use a fresh one")])
    if kept.answered:
        return find(kept.subject)
    if kept.begun != request.begun:
        raise InProgressError("a request with this Idempotency-Key is being carried out: ask again in a moment")
    return _carry_out(catalog, kept, make, find)


def _carry_out(catalog: Catalog, kept: KeyedRequest, make: Callable[[str], Made], find: Callable[[str], Made]) -> Made:
    try:
        made = find(kept.subject)  # whoever began it may have died after making it
    except NotFoundError:
        made = _make(catalog, kept, make)
    catalog.answer_request(kept)
    return made


def _make(catalog: Catalog, kept: KeyedRequest, make: Callable[[str], Made]) -> Made:
    try:
        return make(kept.subject)
    except MergefrontError:
        catalog.forget_request(kept)
        raise
