"""Leases in every store: who may measure and write a trial, and what a sweeper sees."""

import pytest

from app.domain.errors import RefusedError, StaleLeaseError
from app.domain.study import Failure, StudyStatus
from app.domain.trial import MAX_ATTEMPTS, Lease, Measurement, TrialStatus

MEASURED = Measurement({"zeros": 0.1}, {"zeros": "cd" * 32}, 2.5)


class TestClaim:
    def test_gives_a_lease(self, store, proposed_trial):
        lease = store.claim(proposed_trial, "worker-1", seconds=30.0, now=100.5)
        assert lease == Lease(proposed_trial, "worker-1", 1, 130.5)
        trial = store.trial(proposed_trial)
        assert (trial.status, trial.attempts) == (TrialStatus.MEASURING, 1)

    def test_is_refused_while_the_lease_lasts(self, store, proposed_trial):
        store.claim(proposed_trial, "worker-1", 30.0, 100.0)
        events = store.events(store.trial(proposed_trial).study_id)
        assert store.claim(proposed_trial, "worker-1", 30.0, 100.0) is None
        assert store.claim(proposed_trial, "worker-2", 30.0, 130.0) is None
        assert store.events(store.trial(proposed_trial).study_id) == events

    def test_takes_over_when_the_lease_ran_out(self, store, proposed_trial):
        store.claim(proposed_trial, "worker-1", 30.0, 100.0)
        assert store.claim(proposed_trial, "worker-2", 30.0, 130.1) == Lease(proposed_trial, "worker-2", 2, 160.1)
        assert store.trial(proposed_trial).attempts == 2

    def test_fails_the_trial_when_its_attempts_are_used_up(self, store, proposed_trial):
        for attempt in range(MAX_ATTEMPTS):
            assert store.claim(proposed_trial, "worker-1", 1.0, attempt * 10.0).token == attempt + 1
        assert store.claim(proposed_trial, "worker-2", 1.0, 100.0) is None
        trial = store.trial(proposed_trial)
        assert (trial.status, trial.failure.code, trial.attempts) == (TrialStatus.FAILED, "attempts_exhausted", MAX_ATTEMPTS)
        assert store.events(trial.study_id)[-1].kind == "trial.failed"
        assert store.claim(proposed_trial, "worker-2", 1.0, 200.0) is None

    def test_finds_nothing_to_do_on_a_finished_trial(self, store, proposed_trial):
        store.record(store.claim(proposed_trial, "w", 1.0, 0.0), MEASURED)
        assert store.claim(proposed_trial, "w", 1.0, 1000.0) is None

    @pytest.mark.parametrize("failure", [None, Failure("unmet", "too few trials")])
    def test_finds_nothing_to_do_in_an_ended_study(self, store, proposed_trial, failure):
        then = StudyStatus.FAILED if failure else StudyStatus.CANCELLED
        store.step_study(store.trial(proposed_trial).study_id, then, failure)
        assert store.claim(proposed_trial, "w", 1.0, 0.0) is None


class TestLooking:
    def test_shows_the_lease_a_trial_is_measured_under(self, store, proposed_trial):
        assert store.lease(proposed_trial) is None
        store.claim(proposed_trial, "first", 30.0, 100.0)
        assert store.lease(proposed_trial) == Lease(proposed_trial, "first", 1, 130.0)
        newer = store.claim(proposed_trial, "second", 30.0, 200.0)
        assert store.lease(proposed_trial) == newer
        store.record(newer, MEASURED)
        assert store.lease(proposed_trial) is None


class TestRenewal:
    def test_prolongs_the_lease(self, store, proposed_trial):
        lease = store.claim(proposed_trial, "w", 30.0, 100.0)
        renewed = store.renew(lease, 30.0, 125.0)
        assert renewed == Lease(proposed_trial, "w", lease.token, 155.0)
        assert store.claim(proposed_trial, "other", 30.0, 154.0) is None
        assert store.record(renewed, MEASURED).scores == MEASURED.scores

    def test_is_no_event(self, store, proposed_trial):
        lease = store.claim(proposed_trial, "w", 30.0, 100.0)
        before = store.events(store.trial(proposed_trial).study_id)
        store.renew(lease, 30.0, 125.0)
        assert store.events(store.trial(proposed_trial).study_id) == before

    def test_works_after_the_time_while_nobody_took_over(self, store, proposed_trial):
        lease = store.claim(proposed_trial, "w", 30.0, 100.0)
        assert store.renew(lease, 30.0, 500.0).until == 530.0

    def test_tells_a_worker_that_its_study_was_cancelled(self, store, proposed_trial):
        lease = store.claim(proposed_trial, "w", 30.0, 100.0)
        store.step_study(store.trial(proposed_trial).study_id, StudyStatus.CANCELLED)
        with pytest.raises(StaleLeaseError):
            store.renew(lease, 30.0, 101.0)


class TestRelease:
    def test_hands_the_trial_back_without_counting_the_attempt(self, store, proposed_trial):
        for round_ in range(MAX_ATTEMPTS + 2):
            lease = store.claim(proposed_trial, "w", 30.0, 0.0)
            assert lease.token == round_ + 1
            store.release(lease)
            trial = store.trial(proposed_trial)
            assert (trial.status, trial.attempts) == (TrialStatus.PROPOSED, 0)


class TestRecord:
    def test_finishes_the_trial(self, store, proposed_trial):
        recorded = store.record(store.claim(proposed_trial, "w", 30.0, 0.0), MEASURED)
        assert (recorded.status, recorded.attempts) == (TrialStatus.FINISHED, 1)
        assert (recorded.scores, recorded.outputs, recorded.seconds) == (MEASURED.scores, MEASURED.outputs, MEASURED.seconds)
        assert store.trial(proposed_trial) == recorded
        assert store.trials(recorded.study_id)[0] == recorded

    def test_keeps_a_failure_as_data(self, store, proposed_trial):
        failure = Failure("measurement", "outputs of zeros are not finite\u0000\ud800")
        recorded = store.record_failure(store.claim(proposed_trial, "w", 30.0, 0.0), failure)
        assert (recorded.status, recorded.failure) == (TrialStatus.FAILED, failure)
        assert store.trial(proposed_trial) == recorded

    def test_keeps_every_bit_of_a_score(self, store, proposed_trial):
        scores = {"third": 1 / 3, "least": 5e-324, "most": 1.7976931348623157e308, "sum": 0.1 + 0.2, "zero": -0.0, "one": 1.0}
        store.record(store.claim(proposed_trial, "w", 30.0, 0.0), Measurement(scores, {}, 1 / 7))
        kept = store.trial(proposed_trial)
        assert {name: score.hex() for name, score in kept.scores.items()} == {name: score.hex() for name, score in scores.items()}
        assert kept.seconds == 1 / 7

    @pytest.mark.parametrize("score", [float("nan"), float("inf"), "0.5", True])
    def test_refuses_what_is_no_score(self, store, proposed_trial, score):
        lease = store.claim(proposed_trial, "w", 30.0, 0.0)
        with pytest.raises(RefusedError, match="scores.zeros"):
            store.record(lease, Measurement({"zeros": score}, {}, 1.0))
        assert store.trial(proposed_trial).status is TrialStatus.MEASURING
        assert store.record(lease, MEASURED).status is TrialStatus.FINISHED


class TestStaleLeases:
    """A worker paused beyond its lease wakes up: whatever it writes is refused, and changes nothing."""

    WRITES = (
        lambda store, lease: store.renew(lease, 30.0, 200.0),
        lambda store, lease: store.release(lease),
        lambda store, lease: store.record(lease, MEASURED),
        lambda store, lease: store.record_failure(lease, Failure("measurement", "late")),
    )

    @pytest.mark.parametrize("write", WRITES)
    def test_after_another_worker_took_over(self, store, proposed_trial, write):
        stale = store.claim(proposed_trial, "paused", 30.0, 100.0)
        store.claim(proposed_trial, "awake", 30.0, 131.0)
        self._refused(store, stale, write)

    @pytest.mark.parametrize("write", WRITES)
    def test_after_another_worker_finished(self, store, proposed_trial, write):
        stale = store.claim(proposed_trial, "paused", 30.0, 100.0)
        store.record(store.claim(proposed_trial, "awake", 30.0, 131.0), Measurement({"zeros": 0.9}, {}, 1.0))
        self._refused(store, stale, write)

    @pytest.mark.parametrize("write", WRITES)
    def test_after_its_own_result(self, store, proposed_trial, write):
        lease = store.claim(proposed_trial, "w", 30.0, 100.0)
        store.record(lease, Measurement({"zeros": 0.9}, {}, 1.0))
        self._refused(store, lease, write)

    @pytest.mark.parametrize("write", WRITES)
    def test_after_it_was_released(self, store, proposed_trial, write):
        lease = store.claim(proposed_trial, "w", 30.0, 100.0)
        store.release(lease)
        self._refused(store, lease, write)

    def _refused(self, store, lease, write):
        trial = store.trial(lease.trial_id)
        events = store.events(trial.study_id)
        with pytest.raises(StaleLeaseError, match=lease.trial_id):
            write(store, lease)
        assert store.trial(lease.trial_id) == trial
        assert store.events(trial.study_id) == events


class TestSweeper:
    def test_sees_trials_that_nobody_measures(self, store, make_study, make_proposals):
        study = make_study()
        store.add_study(study)
        proposed, leased, lost, done = (trial.id for trial in store.propose(study.id, 0, make_proposals(4)))
        store.claim(leased, "w", 100.0, 0.0)
        store.claim(lost, "w", 5.0, 0.0)
        store.record(store.claim(done, "w", 5.0, 0.0), MEASURED)
        assert store.stale_trials(5.0) == (proposed,)
        assert store.stale_trials(5.1) == (proposed, lost)
        assert store.stale_trials(5.1, limit=1) == (proposed,)
        store.step_study(study.id, StudyStatus.CANCELLED)
        assert store.stale_trials(1e6) == ()

    def test_sees_studies_that_only_an_advance_can_move(self, store, make_study, make_proposals):
        for name, status in (("study_b", StudyStatus.RUNNING), ("study_a", StudyStatus.SUBMITTED), ("study_c", StudyStatus.FAILED)):
            store.add_study(make_study(name, status))
        assert store.idle_studies() == ("study_a", "study_b")
        assert store.idle_studies(limit=1) == ("study_a",)
        (trial,) = store.propose("study_b", 0, make_proposals(1))
        assert store.idle_studies() == ("study_a",)
        lease = store.claim(trial.id, "w", 1.0, 0.0)
        assert store.idle_studies() == ("study_a",)
        store.record(lease, MEASURED)
        assert store.idle_studies() == ("study_a", "study_b")
