"""Looking the same thing up for many who ask at once: one look-up answers all who came before it began."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from fastapi import Request
from starlette.concurrency import run_in_threadpool

Found = TypeVar("Found")


class Lookups:
    """Of one application, for its event loop alone. Nobody gets what was found before he asked: it may have changed since."""

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[Any]] = {}
        self._next: dict[Hashable, asyncio.Task[Any]] = {}

    async def find(self, key: Hashable, look_up: Callable[[], Found]) -> Found:
        """What `look_up` finds or raises; `key` says all of what it looks for."""
        if key not in self._next:
            self._next[key] = asyncio.create_task(self._run(key, self._running.get(key), look_up))
        # who goes away leaves the others what they wait for
        found: Found = await asyncio.shield(self._next[key])
        return found

    async def _run(self, key: Hashable, before: asyncio.Task[Any] | None, look_up: Callable[[], Found]) -> Found:
        if before is not None:
            await asyncio.wait([before])
        self._running[key] = self._next.pop(key)
        try:
            return await run_in_threadpool(look_up)
        finally:
            del self._running[key]


def lookups_of(request: Request) -> Lookups:
    found = request.app.state.lookups
    assert isinstance(found, Lookups)  # app.main puts it there
    return found
