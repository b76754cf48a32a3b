"""How many requests a second the service answers on a finished study, beside a bare FastAPI route in the same run.

    python benchmarks/service_load.py [--seconds 5] [--rounds 3] [--json OUT]

Each server is one uvicorn process on a socket of this machine; one process asks, over so many connections that each sends its next
request when the last is answered. Bare route and service take turns; medians of the rounds count.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
STUDY, KEY = "load", "mf_load"
READERS, CHOOSERS = 200, 20
WISH = json.dumps({"weights": {"task-0": 2.0, "task-1": 1.0}, "constraints": [{"task": "task-2", "at_least": 0.2}]}).encode()


@dataclass(frozen=True)
class Load:
    """What one round gave: requests a second, the seconds that each took, and the processor's seconds that each cost the server."""

    rate: float
    seconds: list[float]
    processor: float

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.seconds, n=100)[98]


@dataclass(frozen=True)
class Server:
    port: int
    process: subprocess.Popen[bytes]

    def processor_seconds(self) -> float:
        """That it has taken so far. Linux only."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Asker(asyncio.Protocol):
    """One connection that sends `request` again whenever its answer is in."""

    def __init__(self, request: bytes, status: bytes, seconds: list[float]) -> None:
        self._request, self._status, self._seconds = request, status, seconds
        self._answer, self._missing = b"", -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            self._answer += data
            head, mark, body = self._answer.partition(b"\r\n\r\n")
            if not mark:
                return
            self._missing = self._expected(head) - len(body)
        else:
            self._missing -= len(data)
        if self._missing == 0:
            self._seconds.append(time.perf_counter() - self._begun)
            self._ask()

    def _expected(self, head: bytes) -> int:
        if not head.startswith(b"HTTP/1.1 " + self._status):
            raise SystemExit(f"expected {self._status!r}, got {self._answer[:600]!r}")
        length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"content-length: 0")
        return 0 if self._status == b"304" else int(length.partition(b":")[2])

    def _ask(self) -> None:
        self._answer, self._missing, self._begun = b"", -1, time.perf_counter()
        self._transport.write(self._request)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with serving("service_load_bare.py") as bare, serving("service_load_server.py", STUDY, KEY) as service:
        wait_for(bare)
        wait_for(service)
        records = list(measure(bare, service, arguments.seconds, arguments.rounds))
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1))


def measure(bare: Server, service: Server, seconds: float, rounds: int) -> Iterator[dict[str, object]]:
    plain = request("GET", "/healthz")
    front, tag = f"/v1/studies/{STUDY}/front", tag_of(service)
    cases = {
        "front, whole body": (request("GET", front), b"200", READERS, 1 / 3, None),
        "front, 304": (request("GET", front, f"If-None-Match: {tag}"), b"304", READERS, 1 / 3, None),
        "choose": (request("POST", f"/v1/studies/{STUDY}/choose", body=WISH), b"200", CHOOSERS, None, 0.1),
    }
    print(f"{'':<20}{'clients':>8}{'a second':>10}{'bare':>9}{'ratio':>8}{'target':>8}{'by CPU':>8}{'p99 ms':>9}{'bare':>9}{'target':>8}")
    for name, (asked, status, clients, ratio_target, p99_target) in cases.items():
        drive(service, asked, status, 1, 0.0)  # what is made once is no part of it
        turns = [(drive(bare, plain, b"200", clients, seconds), drive(service, asked, status, clients, seconds)) for _ in range(rounds)]
        rate, bare_rate = (statistics.median(turn[side].rate for turn in turns) for side in (1, 0))
        p99, bare_p99 = (statistics.median(turn[side].p99 for turn in turns) for side in (1, 0))
        cost, bare_cost = (statistics.median(turn[side].processor for turn in turns) for side in (1, 0))
        print(
            f"{name:<20}{clients:>8}{rate:>10.0f}{bare_rate:>9.0f}{rate / bare_rate:>8.2f}{ratio_target or float('nan'):>8.2f}"
            f"{bare_cost / cost:>8.2f}{1e3 * p99:>9.1f}{1e3 * bare_p99:>9.1f}{1e3 * (p99_target or float('nan')):>8.0f}"
        )
        yield {
            "benchmark": "service_load", "measurement": name, "clients": clients, "rate": rate, "bare_rate": bare_rate,
            "ratio": rate / bare_rate, "target_ratio": ratio_target, "p99_seconds": p99, "bare_p99_seconds": bare_p99,
            "target_p99_seconds": p99_target, "processor_seconds": cost, "bare_processor_seconds": bare_cost,
        }  # fmt: skip


def drive(server: Server, asked: bytes, status: bytes, clients: int, seconds: float) -> Load:
    async def run() -> Load:
        loop, taken = asyncio.get_running_loop(), list[float]()
        place = "127.0.0.1", server.port
        connections = [(await loop.create_connection(lambda: Asker(asked, status, taken), *place))[0] for _ in range(clients)]
        while len(taken) < clients:  # until all of them wait for each other
            await asyncio.sleep(0.05)
        taken.clear()
        start, processor = time.perf_counter(), server.processor_seconds()
        while len(taken) < 2 or time.perf_counter() - start < seconds:
            await asyncio.sleep(0.05)
        found = Load(len(taken) / (time.perf_counter() - start), list(taken), (server.processor_seconds() - processor) / len(taken))
        for connection in connections:
            connection.abort()
        return found

    return asyncio.run(run())


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {KEY}", f"Content-Length: {len(body)}", *headers]
    if body:
        lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, "", ""]).encode() + body


def tag_of(server: Server) -> str:
    asked = urllib.request.Request(f"http://127.0.0.1:{server.port}/v1/studies/{STUDY}/front", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(asked) as answer:
        return str(answer.headers["ETag"])


@contextmanager
def serving(script: str, *words: str) -> Iterator[Server]:
    """A server in a process of its own, which may take a while to answer."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    process = subprocess.Popen([sys.executable, str(HERE / script), str(port), *words])
    try:
        yield Server(port, process)
    finally:
        process.terminate()
        process.wait()


def wait_for(server: Server) -> None:
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz").close()
            return
        except OSError:
            if server.process.poll() is not None:
                raise SystemExit("a server did not start") from None
            time.sleep(0.1)


if __name__ == "__main__":
    main()
