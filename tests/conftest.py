"""What tests of several packages share."""

from collections.abc import Iterator

import pytest

from tests.s3_server import CREDENTIALS, s3_server


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The URL of an S3 server; this process has the credentials for it."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in CREDENTIALS.items():
            environment.setenv(name, value)
        with s3_server() as url:
            yield url
