"""How fast a service gives the weights of a merge that nobody has written, beside writing the same merge to disk, in one go.

    python benchmarks/virtual_merge.py [--rounds 3] [--json OUT]

The checkpoints are those of merge_speed.py: a base and four tuned ones of 0.94 GB each, made once under var/bench. The service is
a process of its own on a socket of this machine; the reader throws the bytes away.
"""

import argparse
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llama_set import TUNED, make_llama_set
from merge_speed import BENCH, HERE, run, warm_up, write_study

READERS = 4
CHUNK = 1 << 20
COEFFICIENTS = (0.3, 0.25, 0.2, 0.15)


@dataclass(frozen=True)
class Figure:
    """One measurement; `target`: what it has to reach, at least or at most as `least` says."""

    name: str
    value: float
    unit: str
    target: float | None = None
    least: bool = False

    def record(self) -> dict[str, object]:
        return {"benchmark": "virtual_merge", "measurement": self.name, "value": self.value, "unit": self.unit, "target": self.target}

    def __str__(self) -> str:
        target = "" if self.target is None else f"   ({'at least' if self.least else 'at most'} {self.target:g})"
        return f"{self.name:<52}{self.value:10.3f} {self.unit}{target}"


class Server:
    """`mergefront api` on data of its own; no worker, since a merge needs none."""

    def __init__(self, folder: Path, allowed: Path) -> None:
        environment = os.environ | {"MERGEFRONT_DIRECTORIES": str(allowed), "MERGEFRONT_LOG_LEVEL": "warning"}
        command = [sys.executable, "-m", "app.cli", "api", "--data", str(folder), "--port", "0", "--broker", "redis://127.0.0.1:1/0"]
        self.port = free_port()
        command[command.index("--port") + 1] = str(self.port)
        self.process = subprocess.Popen(command, env=environment)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)

    def ask(self, method: str, path: str, body: object = None) -> dict:
        connection = self.connect()
        connection.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {content[:500]!r}")
        return json.loads(content)

    def anonymous(self) -> int:
        """Bytes of memory of its own, beside what it maps."""
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines())
        return int(fields["RssAnon"].split()[0]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    llama = make_llama_set(BENCH / "llama")
    warm_up(llama)
    figures = []
    with serving(llama) as server:
        place = ask_for_merge(server, llama)
        for figure in measure(server, place, llama, arguments.rounds):
            print(figure)
            figures.append(figure)
    if arguments.json:
        arguments.json.write_text(json.dumps([figure.record() for figure in figures], indent=1))


@contextmanager
def serving(allowed: Path) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), allowed)
        try:
            wait_for(server)
            yield server
        finally:
            server.process.terminate()
            server.process.wait()


def wait_for(server: Server) -> None:
    while True:
        try:
            server.ask("GET", "/healthz")
            return
        except OSError:
            if server.process.poll() is not None:
                raise SystemExit("the service did not start") from None
            time.sleep(0.1)


def ask_for_merge(server: Server, llama: Path) -> str:
    """A study on the models, and a merge of it; the path of its weights."""
    shutil.copy(write_study(llama).with_name("text.jsonl"), llama)
    document = json.loads((BENCH / "study.json").read_text())
    document["tasks"]["text"]["data"] = str(llama / "text.jsonl")
    study = server.ask("POST", "/v1/studies", document)["id"]
    merge = server.ask("POST", f"/v1/studies/{study}/merges", {"coefficients": list(COEFFICIENTS[: len(TUNED)])})["id"]
    return f"/v1/merges/{merge}/files/model.safetensors"


def measure(server: Server, place: str, llama: Path, rounds: int) -> Iterator[Figure]:
    first, whole, disk = [], [], []
    cold = read(server, place)[0]
    for _ in range(rounds):
        begun, seconds = read(server, place)
        first.append(begun)
        whole.append(seconds)
        disk += run(sys.executable, HERE / "mergefront_speed.py", llama, BENCH / "out", "--mode", "disk", "--runs", "1")["seconds"]
    size = (llama / "base" / "model.safetensors").stat().st_size
    yield Figure("first byte of the first reading", 1e3 * cold, "ms", 100)
    yield Figure("first byte later", 1e3 * statistics.median(first), "ms", 100)
    yield Figure("writing to disk", min(disk), "s")
    yield Figure("a whole reading", min(whole), "s")
    yield Figure("its speed", size / min(whole) / 1e6, "MB/s")
    yield Figure("its speed, as a share of writing to disk", min(disk) / min(whole), "", 0.5, least=True)
    yield Figure("a range of 1 MB in the middle", 1e3 * ranged(server, place, size), "ms")
    yield from beside_readers(server, place)


def read(server: Server, place: str) -> tuple[float, float]:
    """Seconds to the first byte of the body, and to the last."""
    connection, buffer = server.connect(), bytearray(CHUNK)
    start = time.perf_counter()
    connection.request("GET", place)
    answer = connection.getresponse()
    answer.readinto(memoryview(buffer)[:1])
    first = time.perf_counter() - start
    while answer.readinto(buffer):
        pass
    return first, time.perf_counter() - start


def ranged(server: Server, place: str, size: int) -> float:
    connection = server.connect()
    start = time.perf_counter()
    connection.request("GET", place, headers={"Range": f"bytes={size // 2}-{size // 2 + 999_999}"})
    assert len(connection.getresponse().read()) == 1_000_000
    return time.perf_counter() - start


def beside_readers(server: Server, place: str) -> Iterator[Figure]:
    """How the service answers others while READERS read the whole at once."""
    before, peak, seconds = server.anonymous(), 0, []
    readers = [threading.Thread(target=read_in_process, args=(server, place)) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    connection = server.connect()
    while any(reader.is_alive() for reader in readers):
        start = time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        seconds.append(time.perf_counter() - start)
        peak = max(peak, server.anonymous())
        time.sleep(0.01)
    centiles = statistics.quantiles(seconds, n=100)
    yield Figure(f"/healthz beside {READERS} readings, median", 1e3 * centiles[49], "ms")
    yield Figure(f"/healthz beside {READERS} readings, 99 of 100", 1e3 * centiles[98], "ms", 50)
    yield Figure("memory that the readings take together", (peak - before) / 1e6, "MB")


def read_in_process(server: Server, place: str) -> None:
    # another process: this one's interpreter must not be what is measured
    code = (
        "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1])); c.request('GET', sys.argv[2]); "
        "a = c.getresponse(); b = bytearray(1 << 20)\nwhile a.readinto(b): pass"
    )
    subprocess.run([sys.executable, "-c", code, str(server.port), place], check=True)


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
