"""Ties a process to its parent: it dies when the parent does, however that happens.

`python -m workers.tether PARENT COMMAND ARGUMENT...` becomes COMMAND, tied to the process with id PARENT. Linux only (PR_SET_PDEATHSIG,
kept across exec); elsewhere the command runs untied, and ends with its parent's orderly end alone.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def tether(parent: int) -> None:
    """Has the kernel kill this process when the thread that started it ends; ends at once where `parent` is dead already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel knew
            os.kill(os.getpid(), signal.SIGKILL)


def tied(command: list[str]) -> list[str]:
    """The command that runs `command` (its first word a path) tied to this process. To be started from a thread that lives as long."""
    return [sys.executable, "-m", "workers.tether", str(os.getpid()), *command]


if __name__ == "__main__":
    tether(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
