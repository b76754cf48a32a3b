"""A PostgreSQL server of one's own, to be restarted at will, where its programs are installed."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.store.schema import upgrade

# it refuses to run as root; Debian's package makes a user for it
_AS_ITS_USER = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


def programs() -> Path | None:
    """The directory of initdb and pg_ctl; None where there is none that can be used here."""
    if _AS_ITS_USER and not shutil.which("runuser"):
        return None
    on_path = shutil.which("pg_ctl")
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    return Path(on_path).parent if on_path else packaged[-1].parent if packaged else None


@dataclass(frozen=True)
class Cluster:
    """A running server, its data and its socket in `folder`."""

    folder: Path
    bin: Path

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def restart(self) -> None:
        """At once: every connection is cut, and the log is replayed."""
        self.control("restart", "--mode", "immediate", *self.options)

    @property
    def options(self) -> list[str]:
        return ["--options", f"-c listen_addresses= -c unix_socket_directories={self.folder} -c fsync=off"]

    def control(self, *words: str) -> None:
        self.run("pg_ctl", "--pgdata", f"{self.folder}/data", "--log", f"{self.folder}/log", "--wait", *words)

    def run(self, program: str, *words: str) -> None:
        command = [*_AS_ITS_USER, str(self.bin / program), *words]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL)


@contextmanager
def made_cluster() -> Iterator[Cluster]:
    """A server with an empty database that has this release's schema; only where there are `programs`."""
    bin = programs()
    assert bin is not None
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        if _AS_ITS_USER:
            shutil.chown(folder, "postgres")
        cluster = Cluster(Path(folder), bin)
        cluster.run("initdb", "--auth=trust", "--username=postgres", "--pgdata", f"{folder}/data")
        cluster.control("start", *cluster.options)
        try:
            upgrade(cluster.url)
            yield cluster
        finally:
            cluster.control("stop", "--mode", "immediate")
