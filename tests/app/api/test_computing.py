"""Dealing out the computing of bytes."""

import asyncio
import threading

import pytest

from app.actions.merge_files import HeldFile
from app.api.computing import Computing


def steps_of(number, begun, gate=None):
    def step(place):
        begun.append(place)
        if gate is not None:
            assert gate.wait(10)
        return memoryview(bytes([place]))

    return (lambda place=place: step(place) for place in range(number))


def test_gives_chunks_in_order():
    async def read():
        return [bytes(chunk)[0] async for chunk in Computing().chunks(steps_of(200, []))]

    assert asyncio.run(read()) == list(range(200))


def test_begins_no_more_than_it_has_threads_for_before_it_is_asked():
    begun, computing = [], Computing()

    async def read():
        chunks = computing.chunks(steps_of(200, begun))
        first = await anext(chunks)
        await asyncio.sleep(0.05)
        ahead = len(begun)
        await chunks.aclose()
        await asyncio.sleep(0.05)
        return first, ahead

    first, ahead = asyncio.run(read())
    assert bytes(first) == b"\0"
    assert len(begun) == ahead <= computing.threads + 1


def test_computes_no_more_at_once_than_it_has_threads_for_all_readers():
    begun, gate, computing = [], threading.Event(), Computing()

    async def read():
        readers = [asyncio.create_task(anext(computing.chunks(steps_of(50, begun, gate)))) for _ in range(8)]
        await asyncio.sleep(0.2)
        assert len(begun) == computing.threads
        gate.set()
        await asyncio.gather(*readers)

    asyncio.run(read())


def test_tells_what_a_step_raises():
    def broken():
        raise ArithmeticError("too large")

    async def read():
        return [chunk async for chunk in Computing().chunks(iter([lambda: memoryview(b"a"), broken]))]

    with pytest.raises(ArithmeticError, match="too large"):
        asyncio.run(read())


def test_digests_once():
    made = []

    class Counting(HeldFile):
        def steps(self, begin, end):
            made.append(begin)
            return super().steps(begin, end)

    async def twice():
        computing = Computing()
        return {await computing.digest(Counting("a", lambda: b"abc")) for _ in range(2)}

    assert asyncio.run(twice()) == {bytes.fromhex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")}
    assert made == [0]
