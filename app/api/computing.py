"""Computing while bytes are sent: on other threads, so many at once for all readers together, a little ahead of each reader."""

import asyncio
import hashlib
import os
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterator
from itertools import islice

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Request

from app.actions.merge_files import VirtualFile
from checkpoints.stream import Step

_DEALT = 16  # steps that are fetched at a time: finding them takes a thread too
_KNOWN = 10_000


class Computing:
    """Of one application, for its event loop alone."""

    def __init__(self) -> None:
        self.threads = os.cpu_count() or 1
        self._limiter = CapacityLimiter(self.threads)
        self._digests: OrderedDict[str, bytes] = OrderedDict()

    async def chunks(self, steps: Iterator[Step]) -> AsyncIterator[memoryview]:
        """What the steps give, in order. As many as there are threads are begun before they are asked for, and no more: a reader that
        is slow, or has gone, holds up nothing but itself.
        """
        begun: deque[asyncio.Task[memoryview]] = deque()
        try:
            while dealt := await run_sync(_deal, steps):
                for step in dealt:
                    begun.append(asyncio.create_task(run_sync(step, limiter=self._limiter)))
                    if len(begun) > self.threads:
                        yield await begun.popleft()
            while begun:
                yield await begun.popleft()
        finally:
            for task in begun:
                task.cancel()

    async def digest(self, file: VirtualFile) -> bytes:
        """The sha256 of a file; its bytes are computed where nobody asked before."""
        known = self._digests.get(file.tag)
        if known is None:
            found = hashlib.sha256()
            async for chunk in self.chunks(file.steps(0, file.size)):
                await run_sync(found.update, chunk)
            known = self._digests[file.tag] = found.digest()
            if len(self._digests) > _KNOWN:
                self._digests.popitem(last=False)
        return known


def computing_of(request: Request) -> Computing:
    found = request.app.state.computing
    assert isinstance(found, Computing)  # app.main puts it there
    return found


def _deal(steps: Iterator[Step]) -> list[Step]:
    return list(islice(steps, _DEALT))
