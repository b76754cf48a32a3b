"""Work on what comes next while what is there is used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[tuple[Item, Result]]:
    """Each item with its result, in order. `threads` of them are worked on at a time, and as many results may wait to be taken.

    With one thread everything happens in the caller's, when it is asked for. An error comes out at the item that raised it.
    """
    if threads == 1:
        yield from ((item, function(item)) for item in items)
        return
    rest = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        started: deque[tuple[Item, Future[Result]]] = deque()
        try:
            for item in islice(rest, 2 * threads):
                started.append((item, pool.submit(function, item)))
            while started:
                item, result = started.popleft()
                yield item, result.result()
                started.extend((following, pool.submit(function, following)) for following in islice(rest, 1))
        finally:  # the reader may have gone
            for _, result in started:
                result.cancel()
