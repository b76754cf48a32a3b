import subprocess
import sys

import pytest

from app.domain.errors import ConflictError, RefusedError
from workers.hold import hold_directory

HOLDING = "import sys; from pathlib import Path; from workers.hold import hold_directory\n"
HOLDING += "with hold_directory(Path(sys.argv[1]), 'lock', '--out'): print('held', flush=True); input()"


def held(directory, patience=0.0):
    return hold_directory(directory, "deep/lock", "--out", patience)


def test_refuses_what_is_held(tmp_path):
    with held(tmp_path), pytest.raises(ConflictError, match="in use by another process.* choose another --out"), held(tmp_path):
        pass


def test_lets_go(tmp_path):
    for _ in range(2):
        with held(tmp_path / "new"):
            pass


def test_whoever_is_killed_lets_go(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDING, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(ConflictError), hold_directory(tmp_path, "lock", "--out"):
        pass
    holder.kill()
    holder.communicate()
    with hold_directory(tmp_path, "lock", "--out", patience=60.0):
        pass


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RefusedError, match="cannot be written"), held(tmp_path / "file"):
        pass
