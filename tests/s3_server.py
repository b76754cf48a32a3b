"""A real S3 server, in a process of its own."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}
PATIENCE = 60.0


@contextmanager
def s3_server() -> Iterator[str]:
    """The URL of a server that keeps its objects in memory until the block ends; whoever asks it uses CREDENTIALS."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", "0"], stdout=log, stderr=log)
        try:
            yield url_of(process, log.fileno())
        finally:
            process.kill()
            process.wait()


def url_of(process: subprocess.Popen, log: int) -> str:
    """Where the server says that it listens."""
    deadline = time.monotonic() + PATIENCE
    while not (said := re.search(rb"http://127\.0\.0\.1:\d+", os.pread(log, 10_000, 0))):
        assert process.poll() is None and time.monotonic() < deadline, os.pread(log, 10_000, 0).decode()
        time.sleep(0.1)
    return said[0].decode()
