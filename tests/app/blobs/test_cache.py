"""A cache of files: brought once, kept while there is room, never taken from whoever is about to open them."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import pytest

from app.blobs import cache as cache_module
from app.blobs.cache import Cache
from app.domain.errors import UnavailableError

KEYS = [sha256(bytes([number])).hexdigest() for number in range(5)]
SIZE = 10


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Room for two files, none of which is taken to be in use."""
    monkeypatch.setattr(cache_module, "IN_USE_SECONDS", -1.0)
    return Cache(tmp_path / "cache", 2 * SIZE)


@pytest.fixture
def brought():
    return []


@pytest.fixture
def bring(brought):
    def fetch_of(key):
        def fetch(path):
            brought.append(key)
            path.write_bytes(key.encode()[:SIZE])

        return fetch

    return fetch_of


def kept(tmp_path):
    return {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file() and len(path.name) == 64}


def age(path, seconds):
    os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_brings_what_is_not_there_once(cache, bring, brought):
    paths = [cache.path(KEYS[0], bring(KEYS[0])) for _ in range(3)]
    assert len(set(paths)) == 1
    assert paths[0].read_bytes() == KEYS[0].encode()[:SIZE]
    assert brought == [KEYS[0]]


def test_brings_once_for_many_who_ask_at_once(cache, bring, brought):
    def slowly(path):
        time.sleep(0.05)
        bring(KEYS[0])(path)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: cache.path(KEYS[0], slowly), range(8)))) == 1
    assert brought == [KEYS[0]]


def test_gives_up_what_was_used_least_lately(cache, bring, tmp_path):
    for number in (0, 1):
        age(cache.path(KEYS[number], bring(KEYS[number])), 100 - number)
    cache.path(KEYS[0], bring(KEYS[0]))
    cache.path(KEYS[2], bring(KEYS[2]))
    assert kept(tmp_path) == {KEYS[0], KEYS[2]}


def test_being_used_does_not_look_like_being_changed(cache, bring):
    path = cache.path(KEYS[0], bring(KEYS[0]))
    age(path, 100)
    before = path.stat().st_mtime_ns
    cache.path(KEYS[0], bring(KEYS[0]))
    assert path.stat().st_mtime_ns == before
    assert path.stat().st_atime > time.time() - 50


def test_keeps_what_is_in_use_although_it_is_too_much(bring, tmp_path):
    small = Cache(tmp_path / "cache", 0)
    for key in KEYS:
        small.path(key, bring(key))
    assert kept(tmp_path) == set(KEYS)


def test_leaves_nothing_of_what_could_not_be_brought(cache, bring, tmp_path):
    def fail(path):
        path.write_bytes(b"half")
        raise UnavailableError("gone")

    with pytest.raises(UnavailableError):
        cache.path(KEYS[0], fail)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.stat().st_size] == []
    assert cache.path(KEYS[0], bring(KEYS[0])).stat().st_size == SIZE


def test_what_was_opened_stays_readable(cache, bring):
    with cache.path(KEYS[0], bring(KEYS[0])).open("rb") as file:
        for key in KEYS[1:]:
            age(cache.path(key, bring(key)), 0)
        assert file.read() == KEYS[0].encode()[:SIZE]
