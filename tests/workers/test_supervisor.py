"""Processes under a supervisor, with small ones in the parts' place."""

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from app.domain.errors import RefusedError
from workers.broker import LONGEST_SOCKET, socket_of
from workers.hold import hold_directory
from workers.supervisor import Part, Supervisor
from workers.tether import tied

FOREVER = [sys.executable, "-c", "import time; time.sleep(600)"]


def wait_for(condition):
    while not (found := condition()):
        time.sleep(0.02)
    return found


@pytest.fixture
def supervised(tmp_path):
    """Runs a supervisor over parts until the given deed, called with it in another thread, is done."""

    def run(parts, deed):
        stop = threading.Event()
        with hold_directory(tmp_path / "data", "lock", "--data") as lock:
            supervisor = Supervisor(parts, lock)

            def act():
                try:
                    deed(supervisor)
                finally:
                    stop.set()

            thread = threading.Thread(target=act)
            supervisor.run(stop, thread.start)
            thread.join()
        return supervisor

    return run


class TestSupervisor:
    def test_starts_again_what_died(self, supervised):
        pids = []

        def kill(supervisor):
            [running] = supervisor._running
            pids.append(running.process.pid)
            os.kill(pids[0], signal.SIGKILL)
            pids.append(wait_for(lambda: running.process.pid != pids[0] and running.process.pid))

        supervised([Part("part", FOREVER)], kill)
        assert not any(psutil.pid_exists(pid) for pid in pids)

    def test_ends_everything_when_a_part_refuses(self, tmp_path):
        parts = [Part("first", FOREVER), Part("second", [sys.executable, "-c", "raise SystemExit(2)"])]
        before = set(psutil.Process().children())  # of other tests
        with hold_directory(tmp_path / "data", "lock", "--data") as lock, pytest.raises(RefusedError, match="the second refused to work"):
            Supervisor(parts, lock).run(threading.Event(), lambda: None)
        assert set(psutil.Process().children()) <= before


class TestTether:
    def test_a_killed_parent_takes_its_children_along(self):
        script = f"import subprocess; from workers.tether import tied; print(subprocess.Popen(tied({FOREVER!r})).pid, flush=True); input()"
        parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        child = psutil.Process(int(parent.stdout.readline()))
        wait_for(lambda: "time.sleep" in child.cmdline()[-1])
        parent.kill()
        parent.communicate()
        wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)

    def test_ends_at_once_when_the_parent_is_gone_already(self):
        orphan = [word if word != str(os.getpid()) else "1" for word in tied(FOREVER)]
        assert subprocess.run(orphan).returncode == -signal.SIGKILL

    def test_what_a_child_leaves_behind_is_waited_for(self, tmp_path):
        late = f"import time, pathlib; time.sleep(0.5); pathlib.Path({str(tmp_path / 'done')!r}).touch()"
        child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {late!r}])"
        parent = (
            "import subprocess, sys; from workers.tether import Orphans; orphans = Orphans(); orphans.adopt();"
            f"subprocess.run([sys.executable, '-c', {child!r}], check=True); orphans.outlive(20)"
        )
        subprocess.run([sys.executable, "-c", parent], check=True)
        assert (tmp_path / "done").exists()

    @pytest.mark.parametrize(("order", "seconds"), [("child; orphans.adopt()", 60), ("orphans.adopt(); child", 0.1)])
    def test_earlier_children_are_not_waited_for_and_others_not_forever(self, order, seconds):
        child = f"print(subprocess.Popen({FOREVER!r}, stdout=subprocess.DEVNULL).pid, flush=True)"
        script = f"import subprocess; from workers.tether import Orphans; orphans = Orphans(); {order}; orphans.outlive({seconds})"
        command = [sys.executable, "-c", script.replace("child", child)]
        ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=50)
        os.kill(int(ended.stdout), signal.SIGKILL)

    def test_threads_that_end_meanwhile_do_not_matter(self):
        script = (
            "import threading; from workers.tether import Orphans; orphans = Orphans(); orphans.adopt();"
            "busy = [threading.Thread(target=lambda: [threading.Thread(target=int).start() for _ in range(500)]) for _ in range(4)];"
            "[one.start() for one in busy]; [orphans.outlive(1) for _ in range(300)]; [one.join() for one in busy]"
        )
        subprocess.run([sys.executable, "-c", script], check=True, timeout=50)


class TestSocket:
    def test_lies_in_the_data_directory(self, tmp_path):
        assert socket_of(tmp_path) == tmp_path / "run" / "broker.sock"

    def test_is_short_and_private_however_long_the_data_directory_is_called(self, tmp_path):
        deep = tmp_path / ("d" * 60) / ("e" * 60)
        socket = socket_of(deep)
        assert len(os.fsencode(socket)) <= LONGEST_SOCKET
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert socket_of(deep) == socket
        socket.parent.rmdir()
