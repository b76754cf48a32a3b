"""Which places of bytes are meant: a directory or a bucket, and those that are read where they lie."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.blobs.cache import Cache
from app.blobs.local import open_blobs
from app.blobs.port import Blobs
from app.blobs.remote import Remote, Remotes
from app.domain.errors import UnavailableError


def open_place(url: str, data: Path, endpoint: str, cache_bytes: int) -> Blobs:
    """The blobs at `s3://bucket/prefix`, read as files through a cache of `cache_bytes` below `data`; without a `url`, those below `data`.

    Raises RefusedError for another URL, UnavailableError.
    """
    if not url:
        return open_blobs(data / "blobs")
    with _with_boto():
        from app.blobs.s3 import open_s3
    return open_s3(url, endpoint, Cache(data / "cache", cache_bytes))


def open_results(url: str, data: Path, endpoint: str, cache_bytes: int) -> Blobs:
    """What workers make, beside the blobs of `open_place` and apart from them: those go when nobody holds them. Raises as that."""
    return open_place(f"{url.rstrip('/')}/results", data, endpoint, cache_bytes) if url else open_blobs(data / "results")


def open_remotes(buckets: Sequence[str], hub: bool, data: Path, endpoint: str, cache_bytes: int) -> Remotes:
    """The places that references may lead to: below each of `buckets` (s3://bucket/prefix), and any repository of the hub.

    Raises RefusedError for what is no bucket, UnavailableError.
    """
    remotes: dict[str, Remote] = {}
    if buckets:
        with _with_boto():
            from app.blobs.s3 import connect, split_url
            from app.blobs.s3_remote import S3Remote
        for url in buckets:
            split_url(url, "buckets")
        # with the slash: s3://models does not open s3://models-of-others
        remotes |= dict.fromkeys((f"{url.rstrip('/')}/" for url in buckets), S3Remote(connect(endpoint)))
    if hub:
        from app.blobs.hub_remote import HubRemote

        remotes["hf://"] = HubRemote()
    return Remotes(remotes, Cache(data / "cache", cache_bytes))


@contextmanager
def _with_boto() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise UnavailableError("S3 needs the package boto3: pip install 'mergefront[s3]'") from error
