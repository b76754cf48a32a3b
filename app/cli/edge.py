"""The edge of the command line: errors become a message on standard error and an exit code.

0 done, 1 failed, 2 refused (the input is at fault), 3 cancelled.
"""

from textwrap import indent

from app.domain.errors import ConflictError, MergefrontError, NotFoundError, RefusedError, UnmetError

REFUSED = 2
FAILED = 1


def exit_code_of(error: Exception) -> int | None:
    """Tells the error to people and gives its exit code; None for what is no error of ours, a defect to be seen whole."""
    from checkpoints.errors import CheckpointError
    from surrogate.errors import SurrogateError

    if isinstance(error, RefusedError):
        return _tell([str(fault) for fault in error.faults], error.code, REFUSED)
    if isinstance(error, CheckpointError):
        return _tell(error.faults, error.code, REFUSED)
    if isinstance(error, NotFoundError | ConflictError | UnmetError | SurrogateError):
        return _tell([str(error)], error.code, REFUSED)
    if isinstance(error, MergefrontError):
        return _tell([str(error)], error.code, FAILED)
    return None


def _tell(lines: "list[str] | tuple[str, ...]", code: str, status: int) -> int:
    from rich.markup import escape

    from app.cli.console import err

    err.print(f"[bold red]{'refused' if status == REFUSED else 'failed'}[/] ({code})")
    for line in lines:
        err.print(escape(indent(line, "  ")))
    return status
