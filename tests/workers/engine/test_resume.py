"""A study that is killed goes on where its rows say it stands: same trials, same front, nothing measured twice."""

from dataclasses import dataclass, field

import pytest

from app.domain.study import StudyStatus
from app.jobs.inline import InlineJobs
from workers.engine.sweep import sweep


class Killed(BaseException):
    """The process is gone: nothing catches this."""


@dataclass
class FailingJobs(InlineJobs):
    """Dies instead of sending for the `last`-th time."""

    last: int
    sent: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def send(self, name, subject) -> None:
        self.sent += 1
        if self.sent == self.last:
            raise Killed
        super().send(name, subject)


@dataclass
class DyingOnce:
    """A fault that kills the process at the `last`-th measurement, once."""

    last: int
    begun: int = field(default=0)

    def __call__(self, proposal) -> None:
        self.begun += 1
        if self.begun == self.last:
            raise Killed


@pytest.fixture
def undisturbed(house):
    built = house()
    jobs = sum(1 for _ in built.jobs.drain(built.handlers))
    return built, jobs


def same_as(built, other) -> None:
    assert built.study.status is StudyStatus.FINISHED, built.study.failure
    assert [trial.proposal for trial in built.trials] == [trial.proposal for trial in other.trials]
    assert [trial.scores for trial in built.trials] == [trial.scores for trial in other.trials]
    assert built.store.front(built.study.id) == other.store.front(other.study.id)
    assert max(built.evaluator.asked.values()) == 1


class TestKilledBetweenJobs:
    def test_at_every_boundary(self, house, undisturbed):
        other, jobs = undisturbed
        for last in range(1, jobs):
            built = house()
            built.run(jobs=last)
            built.start_again()
            built.run()
            same_as(built, other)

    def test_at_all_boundaries_of_one_study(self, house, undisturbed):
        other, jobs = undisturbed
        built = house()
        for _ in range(2 * jobs):
            built.run(jobs=1)
            built.start_again()
        same_as(built, other)


class TestKilledInside:
    def test_before_every_wake_up(self, house, undisturbed):
        """Rows are written, what was to tell of them is not."""
        other, _ = undisturbed
        survived = False
        last = 1
        while not survived:
            built = house()
            built.jobs = FailingJobs(last)
            last += 1
            try:
                sweep(built.store, built.jobs, built.now)
                built.run()
                survived = True
            except Killed:
                built.start_again()
                built.run()
            same_as(built, other)
        assert last > len(other.trials)

    def test_in_the_middle_of_every_measurement(self, house, undisturbed):
        other, _ = undisturbed
        for last in range(1, len(other.trials) + 1):
            built = house(fault=DyingOnce(last))
            with pytest.raises(Killed):
                built.run()
            built.start_again()
            built.run()
            same_as(built, other)
            assert [trial.attempts for trial in built.trials].count(2) == 1


class TestSweep:
    def test_finds_nothing_while_all_is_waiting_under_a_lease(self, house):
        built = house()
        built.run(jobs=1)
        for trial in built.trials:
            built.store.claim(trial.id, "other", 60.0, built.now)
        assert sweep(built.store, built.jobs, built.now) == 0

    def test_sends_again_what_ran_out(self, house):
        built = house()
        built.run(jobs=1)
        for trial in built.trials:
            built.store.claim(trial.id, "other", 60.0, built.now)
        built.now = 61.0
        assert sweep(built.store, built.jobs, built.now) == len(built.trials)

    def test_wakes_a_study_that_waits_for_nothing(self, house):
        built = house()
        built.jobs = InlineJobs()
        assert sweep(built.store, built.jobs, built.now) == 1
        assert [job.name for job in built.jobs.waiting] == ["advance_study"]
