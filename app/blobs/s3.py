"""Bytes in a bucket of S3, or of a server that speaks like it; one object a digest."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from app.blobs.cache import Cache
from app.blobs.digest import PIECE, checked, digest_of, digest_of_file, is_digest
from app.blobs.durable import writable
from app.blobs.port import Blobs
from app.domain.errors import Fault, NotFoundError, RefusedError, UnavailableError

_MISSING = {"404", "NoSuchKey", "NotFound", "NoSuchBucket"}


def open_s3(url: str, endpoint: str, copies: Cache) -> "S3Blobs":
    """The blobs at `s3://bucket/prefix`; the bucket is made where it is missing. Credentials as every AWS tool finds them.

    Raises RefusedError for another URL, UnavailableError where the server does not serve us.
    """
    bucket, prefix = split_url(url, "blobs")
    client = connect(endpoint)
    with reachable(url):
        _ensure_bucket(client, bucket)
    return S3Blobs(client, bucket, f"{prefix}/" if prefix else "", copies)


@cache
def connect(endpoint: str) -> Any:
    """The client of S3, or of the server at `endpoint`; one is enough for a process and its threads. Raises UnavailableError."""
    config = Config(
        connect_timeout=5, read_timeout=60, retries={"mode": "standard", "max_attempts": 4},
        s3={"addressing_style": "path"} if endpoint else None,
        # not every S3-compatible server knows the newer checksums; what we read is checked by its own digest
        request_checksum_calculation="when_required", response_checksum_validation="when_required",
    )  # fmt: skip
    session = boto3.Session()
    with reachable(endpoint or "S3"):
        return session.client("s3", endpoint_url=endpoint or None, region_name=session.region_name or "us-east-1", config=config)


def split_url(url: str, where: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`. Raises RefusedError, with the fault at `where`."""
    scheme, mark, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not mark or not bucket:
        raise RefusedError([Fault(where, f"expected s3://BUCKET/PREFIX, got {url!r}")])
    return bucket, key.strip("/")


@contextmanager
def reachable(place: str) -> Iterator[None]:
    """Raises NotFoundError for what is not there, UnavailableError for every other failure of the server or on the way to it."""
    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _MISSING:
            raise NotFoundError(f"nothing at {place}") from error
        raise UnavailableError(f"{place} does not serve: {error}") from error
    except (BotoCoreError, Boto3Error) as error:
        raise UnavailableError(f"{place} does not serve: {error}") from error


class S3Blobs(Blobs):
    """May be shared by threads. What is asked for as a file goes through `copies`."""

    def __init__(self, client: Any, bucket: str, prefix: str, copies: Cache) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._copies = copies

    def put(self, content: bytes) -> str:
        digest = digest_of(content)
        if self._size(digest) != len(content):
            with reachable(self._place(digest)):
                self._client.put_object(Bucket=self._bucket, Key=self._prefix + digest, Body=content)
        return digest

    def put_file(self, path: Path) -> str:
        digest = digest_of_file(path)
        self._upload(path, digest)
        return digest

    def take(self, path: Path, digest: str) -> None:
        self._upload(path, digest)
        path.unlink()

    def has(self, digest: str) -> bool:
        return is_digest(digest) and self._size(digest) is not None

    def get(self, digest: str) -> bytes:
        return b"".join(self.chunks(digest))

    def chunks(self, digest: str, size: int = PIECE) -> Iterator[bytes]:
        if not is_digest(digest):
            raise NotFoundError(f"no blob {digest}")
        place = self._place(digest)
        with reachable(place):
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + digest)["Body"]
        return checked(digest, _pieces(body, size, place), place)

    def local(self, digest: str) -> Path:
        if not is_digest(digest):
            raise NotFoundError(f"no blob {digest}")
        return self._copies.path(digest, lambda path: self._fetch(digest, path))

    def delete(self, digest: str) -> None:
        if is_digest(digest):
            with reachable(self._place(digest)):
                self._client.delete_object(Bucket=self._bucket, Key=self._prefix + digest)
            self._copies.drop(digest)

    def _upload(self, path: Path, digest: str) -> None:
        if self._size(digest) != path.stat().st_size:
            with reachable(self._place(digest)):
                self._client.upload_file(str(path), self._bucket, self._prefix + digest)

    def _fetch(self, digest: str, path: Path) -> None:
        pieces = self.chunks(digest)
        with writable(path), path.open("wb") as file:
            for piece in pieces:
                file.write(piece)

    def _size(self, digest: str) -> int | None:
        try:
            with reachable(self._place(digest)):
                return int(self._client.head_object(Bucket=self._bucket, Key=self._prefix + digest)["ContentLength"])
        except NotFoundError:
            return None

    def _place(self, digest: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{digest}"


def _pieces(body: Any, size: int, place: str) -> Iterator[bytes]:
    with reachable(place), body:
        yield from body.iter_chunks(size)


def _ensure_bucket(client: Any, bucket: str) -> None:
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in _MISSING:
            raise
        client.create_bucket(Bucket=bucket)
