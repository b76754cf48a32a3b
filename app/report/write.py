"""Writing the files of a run, each whole or not at all."""

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.domain.errors import UnavailableError
from app.domain.front import Front
from app.domain.study import Study
from app.domain.trial import Trial
from app.report.document import document_text, front_document
from app.report.figure import draw_front
from app.report.page import render_page
from app.report.tables import front_csv, trials_csv


def write_run(directory: Path, study: Study, trials: Sequence[Trial], front: Front) -> None:
    """Writes trials.csv, front.csv, front.png, report.html and front.json into `directory`, which is made where it is missing.

    All five are made before the first is written; front.json comes last, so that a directory that holds one holds the rest.
    Raises UnavailableError when the directory cannot be written; no half file is left.
    """
    files = run_files(study, trials, front, str(directory))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            _write_file(directory / name, content)
        _sync(directory)
    except OSError as error:
        raise UnavailableError(f"{directory}: the files of the run cannot be written: {error.strerror or error}") from error


def run_files(study: Study, trials: Sequence[Trial], front: Front, source: str) -> Mapping[str, bytes]:
    """The five files of a run by name. `source`: the run's directory or the study's id, as `mergefront merge` takes it."""
    return {
        "trials.csv": trials_csv(trials, front.columns, front.tasks).encode(),
        "front.csv": front_csv(front).encode(),
        "front.png": draw_front(study, trials, front),
        "report.html": render_page(study, trials, front, source).encode(),
        "front.json": document_text(front_document(study, trials, front)).encode(),
    }


def _write_file(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    # a rename is durable only once its directory is
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
