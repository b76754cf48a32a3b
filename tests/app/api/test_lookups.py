"""One look-up for many who ask at once."""

import asyncio
import threading

import pytest

from app.api.lookups import Lookups


class Counter:
    """Counts up with every look-up, each of which takes until `gate` is open."""

    def __init__(self, gate=None):
        self.count, self.gate = 0, gate

    def __call__(self):
        self.count += 1
        found = self.count
        if self.gate is not None:
            assert self.gate.wait(10)
        return found


def test_answers_all_who_came_before_it_began():
    async def ask():
        lookups, counter = Lookups(), Counter()
        return await asyncio.gather(*(lookups.find("a", counter) for _ in range(50)))

    assert asyncio.run(ask()) == [1] * 50


def test_gives_nobody_what_was_read_before_he_asked():
    gate, lookups = threading.Event(), Lookups()
    counter = Counter(gate)

    async def ask():
        first = asyncio.create_task(lookups.find("a", counter))
        while not counter.count:
            await asyncio.sleep(0.01)
        later = [asyncio.create_task(lookups.find("a", counter)) for _ in range(3)]
        await asyncio.sleep(0.05)
        gate.set()
        return [await first, *[await one for one in later], await lookups.find("a", counter)]

    assert asyncio.run(ask()) == [1, 2, 2, 2, 3]


def test_keeps_different_things_apart():
    async def ask():
        lookups = Lookups()
        return await asyncio.gather(*(lookups.find(key, lambda key=key: key) for key in "abca"))

    assert asyncio.run(ask()) == list("abca")


def test_tells_everybody_what_went_wrong_and_starts_afresh():
    def fail():
        raise LookupError("gone")

    async def ask():
        lookups = Lookups()
        failed = await asyncio.gather(*(lookups.find("a", fail) for _ in range(3)), return_exceptions=True)
        return failed, await lookups.find("a", lambda: "back")

    failed, then = asyncio.run(ask())
    assert [str(error) for error in failed] == ["gone"] * 3
    assert then == "back"


def test_who_goes_away_leaves_the_others_their_answer():
    gate, lookups = threading.Event(), Lookups()

    async def ask():
        gone, stays = (asyncio.create_task(lookups.find("a", Counter(gate))) for _ in range(2))
        await asyncio.sleep(0.05)
        gone.cancel()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await stays

    assert asyncio.run(ask()) == 1
