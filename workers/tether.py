"""Ties a process to its parent: it dies when the parent does, however that happens.

`python -m workers.tether PARENT COMMAND ARGUMENT...` becomes COMMAND, tied to the process with id PARENT. Linux only (PR_SET_PDEATHSIG,
kept across exec); elsewhere the command runs untied, and ends with its parent's orderly end alone.
"""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def tether(parent: int) -> None:
    """Has the kernel kill this process when the thread that started it ends; ends at once where `parent` is dead already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel knew
            os.kill(os.getpid(), signal.SIGKILL)


def tied(command: list[str]) -> list[str]:
    """The command that runs `command` (its first word a path) tied to this process. To be started from a thread that lives as long."""
    return [sys.executable, "-m", "workers.tether", str(os.getpid()), *command]


class Orphans:
    """What children of this process leave behind when they die, from `adopt` on: its own children, so that it can wait for their end.

    Linux only (PR_SET_CHILD_SUBREAPER); elsewhere nothing is adopted and nothing waited for.
    """

    def __init__(self) -> None:
        self._others = frozenset[int]()

    def adopt(self) -> None:
        """From now on; children that there are already are not waited for."""
        if sys.platform == "linux":
            self._others = _children()
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def outlive(self, seconds: float) -> None:
        """Returns once none of them is left, or after so long."""
        until = time.monotonic() + seconds
        while (orphans := _children() - self._others) and time.monotonic() < until:
            if not any(os.waitpid(orphan, os.WNOHANG)[0] for orphan in orphans):
                time.sleep(0.02)


def _children() -> frozenset[int]:
    return frozenset(child for thread in Path("/proc/self/task").glob("*") for child in _children_of(thread))


def _children_of(thread: Path) -> list[int]:
    try:
        return [int(child) for child in (thread / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):  # it has ended since it was listed: what it started is another thread's now
        return []


if __name__ == "__main__":
    tether(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
