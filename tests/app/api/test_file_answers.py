"""Answers that are files, to clients that go away."""

import socket
import threading
import time

from fastapi import FastAPI, Request, Response

from app.actions.merge_files import HeldFile
from app.api.computing import Computing
from app.api.file_answers import answer_file
from tests.live import Live

STEPS, CHUNK = 500, 1 << 20


class LongFile(HeldFile):
    """Takes a moment for every chunk, and counts them."""

    computed = 0

    @property
    def size(self) -> int:
        return STEPS * CHUNK

    def steps(self, begin, end):
        def step():
            time.sleep(0.01)
            LongFile.computed += 1
            return memoryview(bytes(CHUNK))

        return (step for _ in range(STEPS))


def application():
    app = FastAPI()
    app.state.computing = Computing()

    @app.get("/file")
    async def file(request: Request) -> Response:
        return await answer_file(request, LongFile("model.safetensors", lambda: b""))

    return app


def test_a_client_that_goes_away_stops_the_computing():
    LongFile.computed = 0
    with Live(application()) as live:
        with socket.create_connection(("127.0.0.1", live.port)) as client:
            client.sendall(b"GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
        time.sleep(0.3)
        then = LongFile.computed
        time.sleep(0.3)
        assert LongFile.computed == then < STEPS / 2


def test_a_client_that_reads_slowly_holds_up_the_computing():
    LongFile.computed = 0
    with Live(application()) as live, socket.create_connection(("127.0.0.1", live.port)) as client:
        client.sendall(b"GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.recv(1024)
        time.sleep(0.5)
        then = LongFile.computed
        time.sleep(0.3)
        assert LongFile.computed == then < 30
        assert threading.active_count() < 60
