"""The embedded service: one command, all its parts, and nothing left of it."""

import os
import signal
import subprocess
import time

import pytest
from redis import Redis

from app.actions.inputs import digest_inputs
from app.actions.studies import submit
from app.cli.prepare import prepare
from app.cli.run import carry_out
from app.cli.workspace import open_workspace
from app.domain.study import StudyStatus
from app.domain.trial import TrialStatus
from app.jobs.inline import InlineJobs
from tests.e2e.serving import PATIENCE, eventually

CANCEL_SECONDS = 5.0


@pytest.fixture(scope="module")
def service(serving):
    return serving()


@pytest.fixture(scope="module")
def undisturbed(model_set, tmp_path_factory):
    """The front of the same study, run in this process."""
    with open_workspace(tmp_path_factory.mktemp("run")) as workspace:
        study = carry_out(workspace, prepare(model_set, ()), "cpu", None)
        return workspace.store.front(study.id)


def begin(service, model_set):
    """A study written down; the sweeper wakes it."""
    spec = prepare(model_set, ())
    with service.store() as store:
        return submit(store, InlineJobs(), spec, digest_inputs(spec)).id


def status_of(service, study_id):
    with service.store() as store:
        return store.study(study_id).status


def finished_front(service, study_id):
    eventually(lambda: status_of(service, study_id) not in (StudyStatus.SUBMITTED, StudyStatus.RUNNING), "the study ends")
    with service.store() as store:
        assert store.study(study_id).failure is None
        return store.front(study_id)


def measured_child(service, study_id, mood, state):
    """The process that measures, which stands still in the middle of a trial."""

    def trials(*statuses):
        with service.store() as store:
            return [trial for trial in store.trials(study_id) if trial.status in statuses]

    eventually(lambda: trials(TrialStatus.FINISHED), "a trial is measured")
    mood.write_text(state)
    eventually(lambda: trials(TrialStatus.MEASURING), "a trial stands still")
    time.sleep(1.0)
    assert trials(TrialStatus.MEASURING)
    return service.pids("child")[0]


def assert_same(front, expected):
    assert front.points == expected.points
    assert front.baselines == expected.baselines
    assert front.evaluations == expected.evaluations


class TestServe:
    def test_finds_the_front_that_a_run_in_one_process_finds(self, service, model_set, undisturbed):
        assert_same(finished_front(service, begin(service, model_set)), undisturbed)

    def test_keeps_its_broker_to_itself_and_on_disk(self, service):
        with Redis(unix_socket_path=str(service.broker())) as broker:
            assert broker.config_get("port")["port"] == "0"
            assert broker.config_get("appendonly")["appendonly"] == "yes"
        assert service.broker().stat().st_mode & 0o077 == 0

    def test_refuses_a_directory_that_is_served(self, service):
        second = subprocess.run(service.command(), capture_output=True, text=True, timeout=PATIENCE)
        assert second.returncode == 2
        assert "is in use by another process" in second.stderr
        assert service.ready()

    def test_finds_the_same_front_when_worker_and_broker_are_lost(self, service, model_set, undisturbed, mood):
        study_id = begin(service, model_set)
        os.kill(measured_child(service, study_id, mood, "wait"), signal.SIGKILL)
        with Redis(unix_socket_path=str(service.broker())) as broker:
            broker.flushall()
        [worker] = service.pids("worker")
        os.kill(worker, signal.SIGKILL)
        mood.unlink()
        assert_same(finished_front(service, study_id), undisturbed)
        with service.store() as store:
            assert max(trial.attempts for trial in store.trials(study_id)) == 2


class TestCancel:
    @pytest.mark.parametrize("state", ["wait", "grip"])
    def test_stops_a_measurement_within_seconds(self, service, model_set, mood, state):
        study_id = begin(service, model_set)
        child = measured_child(service, study_id, mood, state)
        with service.store() as store:
            store.step_study(study_id, StudyStatus.CANCELLED)
        eventually(lambda: child not in service.pids("child"), "the measurement stops", CANCEL_SECONDS)
        with service.store() as store:
            assert store.study(study_id).status is StudyStatus.CANCELLED


class TestEnd:
    def test_hands_back_what_is_measured(self, serving, model_set, mood):
        service = serving()
        study_id = begin(service, model_set)
        measured_child(service, study_id, mood, "grip")
        assert service.stop() == 0
        eventually(lambda: not service.processes(), "every process ends")
        with service.store() as store:
            trials = store.trials(study_id)
        assert {(trial.status, trial.attempts) for trial in trials} == {(TrialStatus.FINISHED, 1), (TrialStatus.PROPOSED, 0)}

    def test_leaves_nothing_behind_when_killed(self, serving, model_set, mood):
        service = serving()
        study_id = begin(service, model_set)
        measured_child(service, study_id, mood, "grip")
        service.process.kill()
        service.process.wait()
        eventually(lambda: not service.processes(), "every process dies")
        again = serving(service.data)
        mood.unlink()
        os.kill(eventually(lambda: again.pids("worker"), "a worker")[0], signal.SIGKILL)
        finished_front(again, study_id)
