"""Growing files: one writer, never more than was announced, and what is told to be there is there."""

import errno
import os
import subprocess
import sys

import pytest

from app.blobs.incoming import Incoming
from app.domain.errors import ConflictError, OffsetError, RefusedError, StorageFullError

HOLDER = """\
import sys
from pathlib import Path
from app.blobs.incoming import Incoming
growing = Incoming(Path(sys.argv[1])).open("u", 10)
growing.write(b"abc")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def incoming(tmp_path):
    return Incoming(tmp_path / "uploads")


@pytest.fixture
def growing(incoming):
    opened = incoming.open("u", 10)
    yield opened
    opened.release()


def test_grow_by_what_is_written(incoming, growing):
    assert incoming.offset("u") == 0
    for piece in (b"abc", b"", b"defg"):
        growing.write(piece)
    growing.sync()
    assert (growing.offset, incoming.offset("u"), growing.path.read_bytes()) == (7, 7, b"abcdefg")


def test_have_one_writer(incoming, growing):
    with pytest.raises(ConflictError):
        incoming.open("u", 10)
    incoming.open("v", 10).release()


def test_are_free_when_their_writer_is_killed(incoming, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "uploads"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=os.getcwd()
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConflictError):
            incoming.open("u", 10)
        holder.kill()
    growing = incoming.open("u", 10)
    growing.go_on(3, 7)
    growing.release()


def test_go_on_only_where_they_stand(growing):
    growing.write(b"abc")
    growing.go_on(3, 7)
    for offset in (0, 2, 4):
        with pytest.raises(OffsetError) as refused:
            growing.go_on(offset, 1)
        assert refused.value.offset == 3
    with pytest.raises(RefusedError):
        growing.go_on(3, 8)


def test_take_no_more_than_was_announced(growing):
    growing.write(b"abc")
    growing.go_on(3, None)
    growing.write(b"defg")
    with pytest.raises(RefusedError):
        growing.write(b"hijkl")
    assert (growing.offset, growing.path.read_bytes()) == (3, b"abc")


def test_begin_anew(growing):
    growing.write(b"abc")
    growing.go_on(None, 10)
    growing.write(b"x")
    assert growing.path.read_bytes() == b"x"


def test_say_that_the_disk_is_full(growing, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageFullError):
        growing.write(b"abc")
