"""Trials of external evaluators in every store: who may have them, and when both halves of a trial make a whole."""

import pytest

from app.domain.errors import NotFoundError, StaleLeaseError
from app.domain.study import Failure, StudyStatus
from app.domain.trial import MAX_ATTEMPTS, Lease, Measurement, Proposal, TrialStatus

HERE = Measurement({"zeros": 0.1}, {"zeros": "cd" * 32}, 2.5)
ELSEWHERE = Measurement({"ones": 7.0}, {}, 0.5)


@pytest.fixture
def propose(store, make_study, make_proposals):
    """Proposes `count` trials of a study whose tasks `elsewhere` are not measured here; their ids."""

    def make(*elsewhere, count=3, study_id=""):
        study = make_study(study_id, elsewhere=elsewhere)
        store.add_study(study)
        return [trial.id for trial in store.propose(study.id, 0, make_proposals(count))]

    return make


@pytest.fixture
def offered(store, propose):
    """Three trials of one study that nobody but external evaluators measures."""
    return propose("zeros", "ones")


def ask(store, trial_id, count=1, seconds=30.0, now=0.0, owner="e"):
    return store.ask(store.trial(trial_id).study_id, owner, count, seconds, now)


class TestOffer:
    def test_a_trial_without_a_half_for_workers_is_offered_at_once(self, store, offered):
        assert {store.trial(trial).status for trial in offered} == {TrialStatus.OFFERED}
        assert store.claim(offered[0], "w", 30.0, 0.0) is None
        assert store.stale_trials(1e6) == ()

    def test_the_half_of_workers_comes_first(self, store, propose):
        first, *_ = propose("ones")
        assert ask(store, first) == ()
        half = store.record(store.claim(first, "w", 30.0, 0.0), HERE)
        assert (half.status, half.scores, half.attempts) == (TrialStatus.OFFERED, HERE.scores, 0)
        assert store.events(half.study_id)[-1].kind == "trial.offered"
        (lease,) = ask(store, first, count=3)
        whole = store.record(lease, ELSEWHERE)
        assert (whole.status, whole.scores, whole.outputs, whole.seconds) == (
            TrialStatus.FINISHED, {"zeros": 0.1, "ones": 7.0}, HERE.outputs, 3.0,
        )
        assert store.trial(first) == whole

    def test_a_trial_of_named_tasks_wants_only_those(self, store, make_study):
        study = make_study(elsewhere=("ones",))
        store.add_study(study)
        proposals = [Proposal("adaptive", "search", (0.5, 0.5, 0.5), tasks=(task,)) for task in ("zeros", "ones")]
        here, elsewhere = store.propose(study.id, 0, proposals)
        assert (here.status, elsewhere.status) == (TrialStatus.PROPOSED, TrialStatus.OFFERED)
        assert store.record(store.claim(here.id, "w", 30.0, 0.0), HERE).status is TrialStatus.FINISHED

    def test_a_study_with_offered_trials_is_not_idle(self, store, offered):
        assert store.idle_studies() == ()


class TestAsk:
    def test_gives_leases_by_number(self, store, offered):
        assert ask(store, offered[0], count=2) == tuple(Lease(trial, "e", 1, 30.0) for trial in offered[:2])
        trial = store.trial(offered[0])
        assert (trial.status, trial.attempts) == (TrialStatus.ASKED, 1)
        assert ask(store, offered[0], count=2) == (Lease(offered[2], "e", 1, 30.0),)
        assert ask(store, offered[0], count=2) == ()

    def test_gives_only_trials_of_that_study(self, store, propose):
        (first,), (second,) = (propose("zeros", "ones", count=1, study_id=f"study_{name}") for name in "ab")
        assert [lease.trial_id for lease in ask(store, second, count=9)] == [second]

    def test_an_unknown_study_is_told(self, store):
        with pytest.raises(NotFoundError):
            store.ask("study_none", "e", 1, 30.0, 0.0)

    def test_gives_again_what_was_lost(self, store, offered):
        (lost,) = ask(store, offered[0], now=100.0)
        assert offered[0] not in [lease.trial_id for lease in ask(store, offered[0], count=9, now=130.0)]
        (again,) = ask(store, offered[0], now=130.1, seconds=10.0)
        assert again == Lease(offered[0], "e", 2, 140.1)
        with pytest.raises(StaleLeaseError):
            store.record(lost, ELSEWHERE)
        assert store.renew(again, 10.0, 135.0).until == 145.0

    def test_gives_up_after_the_last_attempt(self, store, offered):
        for attempt in range(MAX_ATTEMPTS):
            assert [lease.token for lease in ask(store, offered[0], seconds=1.0, now=attempt * 10.0)] == [attempt + 1]
        assert [lease.trial_id for lease in ask(store, offered[0], now=100.0)] == [offered[1]]
        trial = store.trial(offered[0])
        assert (trial.status, trial.failure.code) == (TrialStatus.FAILED, "attempts_exhausted")

    def test_of_an_ended_study_gives_nothing(self, store, offered):
        store.step_study(store.trial(offered[0]).study_id, StudyStatus.CANCELLED)
        assert ask(store, offered[0]) == ()


class TestAskedTrials:
    def test_belong_to_no_worker(self, store, offered):
        ask(store, offered[0], seconds=1.0)
        assert store.claim(offered[0], "w", 30.0, 100.0) is None
        assert store.stale_trials(100.0) == ()
        assert store.trial(offered[0]).status is TrialStatus.ASKED

    def test_that_nobody_asks_for_any_more_are_laid_to_rest_by_a_worker(self, store, offered):
        for attempt in range(MAX_ATTEMPTS):
            ask(store, offered[0], seconds=1.0, now=attempt * 10.0)
        assert store.stale_trials(100.0) == (offered[0],)
        assert store.claim(offered[0], "w", 30.0, 100.0) is None
        assert store.trial(offered[0]).failure.code == "attempts_exhausted"

    def test_may_be_handed_back(self, store, offered):
        (lease,) = ask(store, offered[0])
        store.release(lease)
        assert (store.trial(offered[0]).status, store.trial(offered[0]).attempts) == (TrialStatus.OFFERED, 0)

    def test_fail_with_their_reason(self, store, offered):
        (lease,) = ask(store, offered[0])
        assert store.record_failure(lease, Failure("external", "no answer")).failure == Failure("external", "no answer")

    def test_end_with_their_study(self, store, offered):
        (lease,) = ask(store, offered[0])
        store.step_study(store.trial(offered[0]).study_id, StudyStatus.CANCELLED)
        assert {store.trial(trial).failure.code for trial in offered} == {"study_ended"}
        with pytest.raises(StaleLeaseError):
            store.renew(lease, 30.0, 1.0)
