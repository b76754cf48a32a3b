"""Uploads over real sockets, gone on with after client or server were killed, in bounded memory."""

import os
import socket
import subprocess
import sys
from hashlib import file_digest

import psutil
import pytest

from tests.e2e.serving import eventually

MIB = 1 << 20
SIZE = 48 * MIB
LEEWAY = 16 * MIB
"""What the API may grow by while three times as much passes through it."""
SLOW_CLIENT = """\
import socket, sys, time
port, place, path, size = sys.argv[1:]
wire = socket.create_connection(("127.0.0.1", int(port)))
wire.sendall(f"PATCH {place} HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nUpload-Offset: 0\\r\\nContent-Length: {size}\\r\\n\\r\\n".encode())
with open(path, "rb") as file:
    while piece := file.read(1 << 20):
        wire.sendall(piece)
        time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture
def digest(weights):
    return digest_of(weights)


def change(path):
    """The digest of other bytes."""
    with path.open("r+b") as file:
        file.write(os.urandom(16))
    return digest_of(path)


def digest_of(path):
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def announce(api, digest):
    return api.ask("POST", "/v1/uploads", {"digest": digest, "size": SIZE})


def finish(api, place, weights):
    """Sends what is missing; the answer."""
    offset = api.ask("HEAD", place).offset
    with weights.open("rb") as file:
        file.seek(offset)
        return api.ask("PATCH", place, file.read(), Upload_Offset=str(offset))


def send_nothing(api, place):
    return api.ask("PATCH", place, b"", Upload_Offset=str(api.ask("HEAD", place).offset)).status


def assert_stored(api, digest):
    assert announce(api, digest).status == 200
    assert digest_of(api.data / "blobs" / digest[:2] / digest[2:4] / digest) == digest


def test_after_the_client_was_killed(api, weights, digest):
    place = announce(api, digest).headers["location"]
    with subprocess.Popen([sys.executable, "-c", SLOW_CLIENT, str(api.port), place, weights, str(SIZE)]) as client:
        eventually(lambda: api.ask("HEAD", place).offset > 2 * MIB, "bytes arrive")
        assert send_nothing(api, place) == 409
        client.kill()
    eventually(lambda: send_nothing(api, place) == 204, "the upload is free again")
    assert finish(api, place, weights).status == 204
    assert_stored(api, digest)


def test_after_the_server_was_killed(api, weights):
    digest = change(weights)
    place = announce(api, digest).headers["location"]
    with socket.create_connection(("127.0.0.1", api.port)) as wire:
        wire.sendall(f"PATCH {place} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpload-Offset: 0\r\nContent-Length: {SIZE}\r\n\r\n".encode())
        wire.sendall(weights.read_bytes()[: SIZE // 2])
        eventually(lambda: api.ask("HEAD", place).offset > SIZE // 4, "bytes arrive")
        told = api.ask("HEAD", place).offset
        api.kill()
    api.start()
    assert told <= api.ask("HEAD", place).offset <= SIZE // 2
    assert finish(api, place, weights).status == 204
    assert_stored(api, digest)


def test_take_no_more_memory_than_a_few_pieces(api, weights):
    process = psutil.Process(api.process.pid)
    for _ in range(2):
        before = process.memory_info().rss
        digest = change(weights)
        assert api.ask("PUT", f"/v1/blobs/{digest}", weights.read_bytes()).status == 201
    assert process.memory_info().rss - before < LEEWAY
