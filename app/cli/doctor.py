"""`mergefront doctor`: what is installed, what can be reached, what is wrong."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.markup import escape
from rich.table import Column, Table

from app.blobs.opening import open_place
from app.cli.console import out
from app.cli.service import settings_of
from app.config import Settings
from app.domain.errors import MergefrontError, UnavailableError
from app.jobs.celery_producer import CeleryJobs
from app.store.schema import check_revision
from workers.broker import broker_command

NEEDED = ("torch", "safetensors", "transformers", "peft", "scikit-learn", "botorch", "pymoo", "moocore", "SQLAlchemy", "alembic")
LEAST_FREE_BYTES = 2 << 30


def examine() -> None:
    """Prints the findings. Raises UnavailableError, which names them, when something is wrong."""
    findings = [*_packages(), _python(), _torch(), *_parts(settings_of()), _disk()]
    table = Table("part", Column("state", overflow="fold"), title="mergefront doctor", title_justify="left")
    for part, state, fine in findings:
        table.add_row(part, f"[{'green' if fine else 'bold red'}]{escape(state)}[/]")
    out.print(table)
    wrong = [part for part, _, fine in findings if not fine]
    if wrong:
        raise UnavailableError(f"not in order: {', '.join(wrong)}")


def _packages() -> Iterator[tuple[str, str, bool]]:
    for name in NEEDED:
        try:
            yield name, version(name), True
        except PackageNotFoundError:
            yield name, "not installed: pip install mergefront", False


def _python() -> tuple[str, str, bool]:
    return "python", platform.python_version(), sys.version_info >= (3, 11)


def _torch() -> tuple[str, str, bool]:
    import torch

    devices = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    try:
        total = float(torch.ones(1000).sum())
    except RuntimeError as error:
        return "devices", f"torch cannot compute: {error}", False
    return "devices", ", ".join(["cpu", *devices]), total == 1000.0


def _parts(settings: Settings) -> Iterator[tuple[str, str, bool]]:
    """The service's own, as the environment names them; those that `serve` brings need only be there."""
    database, broker = settings.database_url, settings.broker
    embedded = not settings.database
    yield _probe("database", _shown(database), lambda: None if embedded else check_revision(database))
    yield _probe("broker", _shown(broker) or "embedded", lambda: CeleryJobs(broker).check() if broker else broker_command(settings.data))
    yield _probe("blobs", settings.blobs or str(settings.data / "blobs"), lambda: _check_blobs(settings))


def _check_blobs(settings: Settings) -> None:
    if settings.blobs:
        open_place(settings.blobs, settings.data, settings.s3_endpoint, 0).has("0" * 64)
    elif not os.access(next(folder for folder in (settings.data, *settings.data.parents) if folder.exists()), os.W_OK):
        raise UnavailableError(f"{settings.data} cannot be written")


def _probe(part: str, place: str, check: Callable[[], object]) -> tuple[str, str, bool]:
    try:
        check()
    except MergefrontError as error:
        return part, _shown(str(error)), False
    return part, place, True


def _shown(text: str) -> str:
    """Without the passwords of URLs in it."""
    return re.sub(r"(://[^:/@\s]*):[^@/\s]+@", r"\1:***@", text)


def _disk() -> tuple[str, str, bool]:
    free = shutil.disk_usage(Path.cwd()).free
    return "disk", f"{free / 2**30:.1f} GiB free here", free >= LEAST_FREE_BYTES
