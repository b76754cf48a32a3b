"""The directory of bytes: its layout, and what becomes of damage, debris, a full disk and a killed writer."""

import hashlib
import os
import resource
import subprocess
import sys
import time

import pytest

from app.blobs.local import open_blobs
from app.domain.errors import UnavailableError

DAY = 24 * 3600
ENDLESS_PUT = """
import sys
from pathlib import Path
from app.blobs.local import open_blobs
blobs = open_blobs(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    blobs.put(str(number).encode() * 500_000)
    print(number, flush=True)
"""


@pytest.fixture
def root(tmp_path):
    return tmp_path / "var" / "blobs"


@pytest.fixture
def blobs(root):
    return open_blobs(root)


def files(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


class TestLayout:
    def test_fans_out_twice(self, blobs, root):
        digest = blobs.put(b"weights")
        assert files(root) == [root / digest[:2] / digest[2:4] / digest]

    def test_files_are_not_writable(self, blobs):
        assert blobs.local(blobs.put(b"weights")).stat().st_mode & 0o222 == 0

    def test_is_shared_by_openers(self, blobs, root):
        assert open_blobs(root).get(blobs.put(b"weights")) == b"weights"


class TestDamage:
    @pytest.mark.parametrize("damaged", [b"weighty", b"w", b"weights and more"])
    def test_shows_when_read(self, blobs, damaged):
        digest = blobs.put(b"weights")
        self._overwrite(blobs.local(digest), damaged)
        with pytest.raises(UnavailableError, match=f"{digest} is damaged"):
            blobs.get(digest)
        with pytest.raises(UnavailableError, match="damaged"):
            list(blobs.chunks(digest, 2))

    def test_of_length_is_mended_by_storing_again(self, blobs):
        digest = blobs.put(b"weights")
        self._overwrite(blobs.local(digest), b"weig")
        assert blobs.put(b"weights") == digest
        assert blobs.get(digest) == b"weights"

    def _overwrite(self, path, content):
        path.chmod(0o644)
        path.write_bytes(content)


class TestDebris:
    def test_of_killed_writers_goes_after_a_day(self, blobs, root):
        old, young = root / ".incoming" / "old", root / ".incoming" / "young"
        for path, age in ((old, DAY + 60), (young, DAY - 60)):
            path.write_bytes(b"half")
            os.utime(path, (time.time() - age,) * 2)
        open_blobs(root)
        assert files(root) == [young]


class TestFullDisk:
    def test_is_a_clear_error_and_leaves_nothing(self, blobs, root, tmp_path):
        source = tmp_path / "source"
        source.write_bytes(os.urandom(200_000))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(UnavailableError, match=f"cannot store in {root}"):
                blobs.put_file(source)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert files(root) == []

    def test_a_place_that_cannot_be_made_is_a_clear_error(self, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(UnavailableError, match="cannot store in"):
            open_blobs(tmp_path / "file" / "blobs")


class TestKilledWriter:
    def test_leaves_whole_blobs_only(self, root):
        writer = subprocess.Popen([sys.executable, "-c", ENDLESS_PUT, str(root)], stdout=subprocess.PIPE, text=True)
        told = [int(writer.stdout.readline()) for _ in range(20)][-1]
        writer.kill()
        writer.communicate()
        blobs = open_blobs(root)
        stored = [path for path in files(root) if path.parent.name != ".incoming"]
        assert {path.name for path in stored} >= {hashlib.sha256(str(n).encode() * 500_000).hexdigest() for n in range(1, told + 1)}
        for path in stored:
            assert hashlib.sha256(blobs.get(path.name)).hexdigest() == path.name
