"""A run's own directory: its results, and under `state/` the records and bytes that let it continue where it was cut."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.blobs.local import open_blobs
from app.blobs.port import Blobs
from app.domain.errors import Fault, NotFoundError
from app.domain.study import Study
from app.store.engine import sqlite_url
from app.store.port import Store
from app.store.sql import open_store
from workers.hold import hold_directory

STATE = "state"


@dataclass(frozen=True)
class Workspace:
    """An open run directory; this process is the only one that works in it."""

    directory: Path
    store: Store
    blobs: Blobs

    def study(self) -> Study | None:
        """The study of this directory, once one was begun."""
        return next(iter(self.store.studies(limit=1)), None)


def place_faults(directory: Path) -> list[Fault]:
    """What keeps a directory from being made or written, found without making it."""
    standing = next(place for place in (directory.absolute(), *directory.absolute().parents) if place.exists())
    if not standing.is_dir():
        return [Fault("--out", f"{directory} cannot be written: {standing} is no directory; choose another directory")]
    if not os.access(standing, os.W_OK | os.X_OK):
        return [Fault("--out", f"{directory} cannot be written: {standing} is not yours to write in; choose another directory")]
    return []


@contextmanager
def open_workspace(directory: Path) -> Iterator[Workspace]:
    """Makes the directory where it is missing and holds it.

    Raises RefusedError when it cannot be written, ConflictError when it is held.
    """
    with hold_directory(directory, f"{STATE}/lock", "--out"):
        yield _open(directory)


def read_workspace(directory: Path) -> Workspace:
    """A run directory that exists, to look at only. Raises NotFoundError."""
    if not (directory / STATE / "study.sqlite").is_file():
        raise NotFoundError(f"{directory} holds no run; `mergefront run STUDY.yaml --out {directory}` makes one")
    return _open(directory)


def _open(directory: Path) -> Workspace:
    state = directory / STATE
    return Workspace(directory, open_store(sqlite_url(state / "study.sqlite")), open_blobs(state / "blobs"))
