"""Bytes in a bucket: what goes wrong on the way, and what the contract does not say."""

from hashlib import sha256

import pytest

from app.blobs.cache import Cache
from app.blobs.local import LocalBlobs
from app.blobs.opening import open_place
from app.blobs.s3 import connect, open_s3
from app.domain.errors import RefusedError, UnavailableError


@pytest.fixture
def client(s3):
    return connect(s3)


@pytest.fixture
def blobs(s3, tmp_path):
    return open_s3("s3://mine/some/place/", s3, Cache(tmp_path / "cache", 1 << 20))


def test_are_objects_under_their_prefix(blobs, client):
    digest = blobs.put(b"weights")
    assert client.get_object(Bucket="mine", Key=f"some/place/{digest}")["Body"].read() == b"weights"


def test_of_another_prefix_are_not_there(blobs, s3, tmp_path):
    assert not open_s3("s3://mine/else", s3, Cache(tmp_path, 0)).has(blobs.put(b"weights"))


def test_large_files_go_in_parts(blobs, tmp_path):
    content = bytes(range(256)) * (40 << 10)
    path = tmp_path / "large"
    path.write_bytes(content)
    digest = blobs.put_file(path)
    assert digest == sha256(content).hexdigest()
    assert blobs.local(digest).read_bytes() == content


def test_are_read_once_as_files(blobs, client):
    digest = blobs.put(b"weights")
    blobs.local(digest)
    client.delete_object(Bucket="mine", Key=f"some/place/{digest}")
    assert blobs.local(digest).read_bytes() == b"weights"
    assert not blobs.has(digest)


def test_that_were_damaged_are_found_out(blobs, client, tmp_path):
    digest = blobs.put(b"weights")
    client.put_object(Bucket="mine", Key=f"some/place/{digest}", Body=b"weighty")
    for read in (blobs.get, blobs.local):
        with pytest.raises(UnavailableError, match="damaged"):
            read(digest)
    assert not any(path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_on_a_server_that_is_not_there_are_unavailable(s3, tmp_path):
    with pytest.raises(UnavailableError, match="does not serve"):
        open_s3("s3://mine", "http://127.0.0.1:9", Cache(tmp_path, 0))


@pytest.mark.parametrize("url", ["http://mine", "s3://", "mine/place", "s3:mine"])
def test_need_a_bucket(url, tmp_path):
    with pytest.raises(RefusedError, match="s3://BUCKET"):
        open_place(url, tmp_path, "", 0)


def test_without_a_url_are_local(tmp_path):
    assert isinstance(open_place("", tmp_path, "", 0), LocalBlobs)
