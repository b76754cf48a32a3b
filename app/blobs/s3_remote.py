"""Files of a bucket, read where they lie."""

from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from app.blobs.durable import writable
from app.blobs.remote import Remote, RemoteFile
from app.blobs.s3 import reachable, split_url
from app.domain.errors import NotFoundError


class S3Remote(Remote):
    """References are s3://bucket/prefix, the files below it, or s3://bucket/key, that one. `client`: of boto3; may be shared by threads."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def files(self, reference: str) -> tuple[RemoteFile, ...]:
        bucket, key = split_url(reference, "reference")
        with reachable(reference):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
            objects = [found for page in pages for found in page.get("Contents", ())]
        named = [(_name(found["Key"], key), found) for found in objects]
        files = [RemoteFile(name, found["Size"], found["ETag"]) for name, found in named if name]
        if not files:
            raise NotFoundError(f"nothing at {reference}")
        return tuple(sorted(files, key=lambda file: file.name))

    def read(self, reference: str, file: RemoteFile, size: int) -> bytes:
        if not file.size:
            return b""
        with reachable(reference):
            content: bytes = self._get(reference, file, Range=f"bytes=0-{size - 1}").read()
        return content

    def fetch(self, reference: str, file: RemoteFile, path: Path) -> None:
        with reachable(reference), writable(path), path.open("wb") as target:
            for piece in self._get(reference, file).iter_chunks(1 << 20):
                target.write(piece)

    def _get(self, reference: str, file: RemoteFile, **options: str) -> Any:
        bucket, key = split_url(reference, "reference")
        whole = key if key.rpartition("/")[2] == file.name and self._is_object(bucket, key) else f"{key}/{file.name}".lstrip("/")
        return self._client.get_object(Bucket=bucket, Key=whole, IfMatch=file.mark, **options)["Body"]

    def _is_object(self, bucket: str, key: str) -> bool:
        try:
            self._client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "404":
                return False
            raise
        return True


def _name(found: str, key: str) -> str:
    """The path of an object below the reference's key; empty for what lies beside it, or is a folder's mark."""
    if found == key:
        return key.rpartition("/")[2]
    below = found.removeprefix(f"{key}/") if key else found
    return "" if below == found and key or below.endswith("/") else below
