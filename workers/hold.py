"""A directory for one process at a time; whoever dies lets go of it."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from app.domain.errors import ConflictError, Fault, RefusedError


@contextmanager
def hold_directory(directory: Path, lock: str, option: str, patience: float = 0.0) -> Iterator[IO[str]]:
    """Makes the directory where it is missing and holds it, by the file `lock` in it, which is given open.

    `option`: of the command line, where another directory is named. `patience`: seconds that another process may take to let go.
    Raises RefusedError when the directory cannot be written, ConflictError when another process holds it.
    """
    file = directory / lock
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        held = file.open("w")
    except OSError as error:
        raise RefusedError([Fault(option, f"{directory} cannot be written: {error.strerror}; choose another directory")]) from error
    with held:
        deadline = time.monotonic() + patience
        while not _locked(held):
            if time.monotonic() >= deadline:
                raise ConflictError(f"{directory} is in use by another process; wait for it or stop it, or choose another {option}")
            time.sleep(0.1)
        yield held


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
