"""Which place of bytes is meant: a directory, or a bucket."""

from pathlib import Path

from app.blobs.cache import Cache
from app.blobs.local import open_blobs
from app.blobs.port import Blobs
from app.domain.errors import UnavailableError


def open_place(url: str, data: Path, endpoint: str, cache_bytes: int) -> Blobs:
    """The blobs at `s3://bucket/prefix`, read as files through a cache of `cache_bytes` below `data`; without a `url`, those below `data`.

    Raises RefusedError for another URL, UnavailableError.
    """
    if not url:
        return open_blobs(data / "blobs")
    try:
        from app.blobs.s3 import open_s3
    except ModuleNotFoundError as error:
        raise UnavailableError("S3 needs the package boto3: pip install 'mergefront[s3]'") from error
    return open_s3(url, endpoint, Cache(data / "cache", cache_bytes))
