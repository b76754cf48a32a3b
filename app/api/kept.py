"""What was made once and is asked for again: the latest of it, in this process's memory."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """Values of which a key says all, at most `count` of them, those used latest. May be shared by threads."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable) -> Value | None:
        """The value, if it was made."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def get_or_make(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value; made outside the lock, so that nobody waits for another's (two may make the same)."""
        known = self.get(key)
        if known is not None:
            return known
        made = make()
        with self._lock:
            self._values[key] = made
            if len(self._values) > self._count:
                self._values.popitem(last=False)
        return made
