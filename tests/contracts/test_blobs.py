"""What every place of bytes keeps."""

import hashlib

import pytest

from app.blobs.cache import Cache
from app.blobs.local import open_blobs
from app.blobs.memory import MemoryBlobs
from app.blobs.s3 import open_s3
from app.domain.errors import NotFoundError

ABSENT = hashlib.sha256(b"absent").hexdigest()
CONTENTS = [b"", b"weights", bytes(range(256)) * 9000]


@pytest.fixture(params=["memory", "local", "s3"])
def blobs(request, tmp_path):
    match request.param:
        case "memory":
            return MemoryBlobs(tmp_path)
        case "local":
            return open_blobs(tmp_path / "blobs")
        case _:
            return open_s3(f"s3://blobs/{tmp_path.name}", request.getfixturevalue("s3"), Cache(tmp_path / "cache", 1 << 30))


class TestPut:
    @pytest.mark.parametrize("content", CONTENTS)
    def test_names_content_by_its_digest(self, blobs, content):
        digest = blobs.put(content)
        assert digest == hashlib.sha256(content).hexdigest()
        assert blobs.get(digest) == content

    @pytest.mark.parametrize("content", CONTENTS)
    def test_takes_files_and_leaves_them(self, blobs, tmp_path, content):
        path = tmp_path / "source.safetensors"
        path.write_bytes(content)
        digest = blobs.put_file(path)
        assert digest == hashlib.sha256(content).hexdigest()
        assert blobs.get(digest) == path.read_bytes() == content
        path.write_bytes(b"changed later")
        assert blobs.get(digest) == content

    def test_twice_is_once(self, blobs, tmp_path):
        path = tmp_path / "source"
        path.write_bytes(b"weights")
        assert blobs.put(b"weights") == blobs.put(b"weights") == blobs.put_file(path)
        assert blobs.get(blobs.put(b"weights")) == b"weights"

    def test_of_a_missing_file_says_so(self, blobs, tmp_path):
        with pytest.raises(FileNotFoundError, match="gone"):
            blobs.put_file(tmp_path / "gone")


class TestTake:
    @pytest.mark.parametrize("content", CONTENTS)
    @pytest.mark.parametrize("known", [False, True])
    def test_takes_files_over(self, blobs, tmp_path, content, known):
        digest = hashlib.sha256(content).hexdigest()
        if known:
            blobs.put(content)
        path = tmp_path / "source"
        path.write_bytes(content)
        blobs.take(path, digest)
        assert not path.exists()
        assert blobs.get(digest) == blobs.local(digest).read_bytes() == content


class TestDelete:
    def test_leaves_nothing_but_what_is_open(self, blobs):
        digest, other = blobs.put(b"weights"), blobs.put(b"others")
        with blobs.local(digest).open("rb") as reader:
            blobs.delete(digest)
            assert reader.read() == b"weights"
        assert not blobs.has(digest)
        for read in (blobs.get, blobs.chunks, blobs.local):
            with pytest.raises(NotFoundError):
                read(digest)
        assert blobs.get(other) == b"others"

    @pytest.mark.parametrize("digest", [ABSENT, "", "..", "../../etc/passwd"])
    def test_of_what_is_not_there_is_done(self, blobs, digest):
        blobs.delete(digest)

    def test_makes_room_for_the_same_again(self, blobs):
        blobs.delete(blobs.put(b"weights"))
        assert blobs.get(blobs.put(b"weights")) == b"weights"


class TestRead:
    @pytest.mark.parametrize("size", [1, 3, 7, 100])
    def test_in_chunks(self, blobs, size):
        chunks = list(blobs.chunks(blobs.put(b"weights"), size))
        assert b"".join(chunks) == b"weights"
        assert {len(chunk) for chunk in chunks[:-1]} <= {size}
        assert len(chunks[-1]) <= size

    def test_as_a_file(self, blobs):
        assert blobs.local(blobs.put(b"weights")).read_bytes() == b"weights"

    @pytest.mark.parametrize("digest", [ABSENT, "", "..", "../../etc/passwd", ABSENT.upper(), ABSENT[:-1], "/" + ABSENT, ABSENT + "\n"])
    def test_of_what_is_not_there(self, blobs, digest):
        blobs.put(b"something else")
        assert not blobs.has(digest)
        for read in (blobs.get, blobs.chunks, blobs.local):
            with pytest.raises(NotFoundError):
                read(digest)

    def test_knows_what_is_there(self, blobs):
        assert blobs.has(blobs.put(b"weights"))
