"""`mergefront doctor`: what is installed, what can be reached, what is wrong."""

import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from app.cli.console import out
from app.domain.errors import UnavailableError

NEEDED = ("torch", "safetensors", "transformers", "peft", "scikit-learn", "botorch", "pymoo", "moocore", "SQLAlchemy", "alembic")
LEAST_FREE_BYTES = 2 << 30


def examine() -> None:
    """Prints the findings. Raises UnavailableError, which names them, when something is wrong."""
    findings = [*_packages(), _python(), _torch(), _disk()]
    table = Table("part", "state", title="mergefront doctor", title_justify="left")
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


def _disk() -> tuple[str, str, bool]:
    free = shutil.disk_usage(Path.cwd()).free
    return "disk", f"{free / 2**30:.1f} GiB free here", free >= LEAST_FREE_BYTES
