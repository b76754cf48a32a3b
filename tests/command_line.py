"""The command line as tests call it: through its entry point, in this process or in one of its own."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from app.cli.main import main

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


def mergefront(*words: object) -> Ended:
    """Runs `mergefront WORDS` in this process, as its entry point would be run."""
    out, err = io.StringIO(), io.StringIO()
    with patch.object(sys, "argv", ["mergefront", *map(str, words)]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return Ended(code, out.getvalue(), err.getvalue())


def start(*words: object) -> subprocess.Popen[str]:
    """Starts `mergefront WORDS` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli", *map(str, words)],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )


def finish(process: subprocess.Popen[str]) -> Ended:
    """Waits for a process that was started and says how it ended."""
    out, err = process.communicate(timeout=300)
    return Ended(process.returncode, out, err)
