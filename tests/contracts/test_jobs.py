"""What jobs sent in this process promise."""

import pytest

from app.jobs.inline import InlineJobs
from app.jobs.port import Job


@pytest.fixture
def jobs():
    return InlineJobs()


class TestDrain:
    def test_runs_first_what_was_sent_first(self, jobs):
        ran = []
        sent = [Job("measure_trial", "trial_2"), Job("advance_study", "study_1"), Job("measure_trial", "trial_1")]
        for job in sent:
            jobs.send(job.name, job.subject)
        assert list(jobs.drain({"measure_trial": ran.append, "advance_study": ran.append})) == sent
        assert ran == ["trial_2", "study_1", "trial_1"]

    def test_runs_what_handlers_send(self, jobs):
        def advance(study):
            jobs.send("measure_trial", f"{study}'s")

        jobs.send("advance_study", "study_1")
        ran = list(jobs.drain({"advance_study": advance, "measure_trial": lambda trial: None}))
        assert [job.subject for job in ran] == ["study_1", "study_1's"]
        assert jobs.waiting == ()

    def test_tells_of_each_job_before_the_next(self, jobs):
        ran = []
        jobs.send("measure_trial", "trial_1")
        jobs.send("measure_trial", "trial_2")
        progress = jobs.drain({"measure_trial": ran.append})
        assert next(progress).subject == "trial_1"
        assert ran == ["trial_1"]
        assert jobs.waiting == (Job("measure_trial", "trial_2"),)

    def test_of_nothing_is_nothing(self, jobs):
        assert list(jobs.drain({})) == []


class TestEqualJobs:
    def test_wait_once(self, jobs):
        for _ in range(3):
            jobs.send("advance_study", "study_1")
        jobs.send("measure_trial", "study_1")
        assert jobs.waiting == (Job("advance_study", "study_1"), Job("measure_trial", "study_1"))

    def test_run_again_when_sent_while_running(self, jobs):
        ran = []

        def advance(study):
            ran.append(study)
            if len(ran) < 3:
                jobs.send("advance_study", study)

        jobs.send("advance_study", "study_1")
        assert len(list(jobs.drain({"advance_study": advance}))) == 3


class TestFailingHandlers:
    def test_come_out_with_the_name_of_their_job(self, jobs):
        def measure(trial):
            raise ValueError("no such model")

        jobs.send("measure_trial", "trial_1")
        jobs.send("advance_study", "study_1")
        with pytest.raises(ValueError, match="no such model") as raised:
            list(jobs.drain({"measure_trial": measure}))
        assert raised.value.__notes__ == ["while running measure_trial for trial_1"]
        assert [job.subject for job in jobs.drain({"advance_study": lambda study: None})] == ["study_1"]
