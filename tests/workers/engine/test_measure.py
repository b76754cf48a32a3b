"""One trial under a lease: what is written, and what is not."""

import math
import threading
from dataclasses import replace

import pytest

from app.domain.errors import StaleLeaseError, UnavailableError
from app.domain.study import Failure, StudyStatus
from app.domain.trial import MAX_ATTEMPTS, Measurement, TrialStatus
from app.store.memory import MemoryStore
from checkpoints.errors import LayoutError
from workers.engine.arrays import unpack_outputs
from workers.engine.measure import measure
from workers.evaluators.protocol import Evaluation


@pytest.fixture
def begun(house):
    """A house whose design is proposed; its first trial is the origin."""

    def make(**settings):
        built = house(**settings)
        built.run(jobs=1)
        return built

    return make


def raising(error):
    def fault(proposal):
        raise error

    return fault


def scoring(built, **scores):
    """The house's workshop with an evaluator that gives these scores."""

    class Fixed:
        scorers, gram, plan = built.evaluator.scorers, built.evaluator.gram, "fixed"

        def evaluate(self, proposal):
            return Evaluation(scores, {})

    return replace(built.workshop, evaluator_of=lambda study: Fixed())


class TestResult:
    def test_scores_outputs_and_seconds_are_kept(self, begun):
        built = begun()
        measure(built.workshop, built.trials[0].id)
        trial = built.trials[0]
        assert trial.status is TrialStatus.FINISHED
        assert trial.scores == pytest.approx({"left": 0.85, "right": 0.68}, abs=1e-4)
        assert trial.seconds >= 0
        expected = built.evaluator.evaluate(trial.proposal).outputs["left"]
        assert unpack_outputs(built.blobs.get(trial.outputs["left"])).equal(expected)

    def test_outputs_of_the_report_split_are_not_kept(self, house):
        built = house()
        built.finish()
        kept = {bool(trial.outputs): trial.proposal.split for trial in built.trials}
        assert kept == {True: "search", False: "report"}

    def test_a_finished_trial_is_not_measured_again(self, begun):
        built = begun()
        for _ in range(2):
            measure(built.workshop, built.trials[0].id)
        assert built.evaluator.asked[built.trials[0].proposal] == 1

    def test_a_wake_up_too_many_wakes_nothing(self, begun):
        """Each would wake the study again, which wakes all of its next stage: they would multiply from stage to stage."""
        built = begun()
        for trial in built.trials:
            measure(built.workshop, trial.id)
        before = len(built.jobs.waiting)
        for trial in built.trials:
            measure(built.workshop, trial.id)
        assert len(built.jobs.waiting) == before

    def test_the_last_one_wakes_the_study(self, begun):
        built = begun()
        for trial in built.trials:
            assert "advance_study" not in {job.name for job in built.jobs.waiting}
            measure(built.workshop, trial.id)
        assert "advance_study" in {job.name for job in built.jobs.waiting}


class TestUnmeasurable:
    @pytest.mark.parametrize(
        ("scores", "reason"),
        [
            ({"left": math.nan, "right": 0.1}, "left: mse came out as nan"),
            ({"left": 0.1, "right": math.inf}, "right: mse came out as inf"),
            ({"left": -0.1, "right": 0.1}, r"left: mse came out as -0.1, expected a number in [0, inf]"),
            ({"left": 0.1}, "right: mse came out as nan"),
        ],
    )
    def test_a_score_that_is_none_fails_the_trial(self, begun, scores, reason):
        built = begun()
        measure(scoring(built, **scores), built.trials[0].id)
        trial = built.trials[0]
        assert trial.status is TrialStatus.FAILED
        assert trial.failure.code == "measurement"
        assert reason in trial.failure.message

    def test_the_reason_is_the_evaluators(self, begun, unmeasurable):
        built = begun(fault=unmeasurable(lambda proposal: True))
        measure(built.workshop, built.trials[0].id)
        assert built.trials[0].failure == Failure("measurement", "left: outputs are not finite")
        assert built.study.status is StudyStatus.RUNNING

    def test_weights_that_cannot_be_read_fail_the_study(self, begun):
        built = begun(fault=raising(LayoutError("left: no such file")))
        measure(built.workshop, built.trials[0].id)
        assert built.study.status is StudyStatus.FAILED
        assert built.study.failure == Failure("checkpoint.layout", "left: no such file")


class TestInterrupted:
    @pytest.mark.parametrize("error", [UnavailableError("no device cuda:1"), KeyboardInterrupt(), SystemExit(0)])
    def test_an_attempt_that_is_nobodys_fault_is_handed_back(self, begun, error):
        built = begun(fault=raising(error))
        with pytest.raises(type(error)):
            measure(built.workshop, built.trials[0].id)
        assert built.trials[0].status is TrialStatus.PROPOSED
        assert built.trials[0].attempts == 0

    def test_a_defect_comes_out_and_counts(self, begun):
        built = begun(fault=raising(RuntimeError("defect")))
        trial = built.trials[0].id
        for attempt in range(1, MAX_ATTEMPTS + 1):
            with pytest.raises(RuntimeError, match="defect"):
                measure(built.workshop, trial)
            assert built.trials[0].attempts == attempt
            built.now += 61.0
        measure(built.workshop, trial)
        assert built.trials[0].status is TrialStatus.FAILED
        assert built.trials[0].failure.code == "attempts_exhausted"

    def test_the_study_goes_on_when_the_last_open_trial_is_given_up(self, begun):
        built = begun(fault=lambda proposal: None)
        first = built.trials[0]
        for trial in built.trials[1:]:
            measure(built.workshop, trial.id)
        for _ in range(MAX_ATTEMPTS):
            built.store.claim(first.id, "dead", 60.0, built.now)
            built.now += 61.0
        measure(built.workshop, first.id)
        assert "advance_study" in {job.name for job in built.jobs.waiting}


class TestLease:
    def test_a_result_that_comes_too_late_is_dropped(self, begun):
        """Paused past its lease: another worker claims and records before this one is back."""
        built = begun()
        trial = built.trials[0].id
        theirs = Measurement({"left": 9.0, "right": 9.0}, {}, 1.0)

        def overtaken(proposal):
            built.now += 61.0
            built.store.record(built.store.claim(trial, "other", 60.0, built.now), theirs)

        built.evaluator.fault = overtaken
        measure(built.workshop, trial)
        assert built.trials[0].scores == theirs.scores

    def test_a_failure_that_comes_too_late_is_dropped(self, begun, unmeasurable):
        built = begun()
        trial = built.trials[0].id
        fail = unmeasurable(lambda proposal: True)

        def overtaken(proposal):
            built.now += 61.0
            built.store.claim(trial, "other", 60.0, built.now)
            fail(proposal)

        built.evaluator.fault = overtaken
        measure(built.workshop, trial)
        assert built.trials[0].status is TrialStatus.MEASURING

    def test_a_leased_trial_is_left_to_its_holder(self, begun):
        built = begun()
        built.store.claim(built.trials[0].id, "other", 60.0, built.now)
        measure(built.workshop, built.trials[0].id)
        assert not built.evaluator.asked

    def test_is_renewed_while_the_evaluation_runs(self, begun):
        beaten = threading.Event()

        class Counting(MemoryStore):
            def renew(self, lease, seconds, now):
                beaten.set()
                return super().renew(lease, seconds, now)

        built = begun(store=Counting())
        built.evaluator.fault = lambda proposal: beaten.wait(30) or pytest.fail("no heartbeat")
        measure(replace(built.workshop, lease_seconds=0.03), built.trials[0].id)
        assert built.trials[0].status is TrialStatus.FINISHED

    def test_nothing_is_written_once_a_heartbeat_was_refused(self, begun):
        refused = threading.Event()
        written = []

        class Refusing(MemoryStore):
            def renew(self, lease, seconds, now):
                refused.set()
                raise StaleLeaseError("token 1 is no longer current")

            def record(self, lease, measurement):
                written.append(lease)
                return super().record(lease, measurement)

        built = begun(store=Refusing())
        built.evaluator.fault = lambda proposal: refused.wait(30) or pytest.fail("no heartbeat")
        measure(replace(built.workshop, lease_seconds=0.03), built.trials[0].id)
        assert written == []

    def test_a_store_that_is_briefly_away_does_not_end_the_heartbeat(self, begun):
        outages = iter([True, True, False])
        back = threading.Event()

        class Flaky(MemoryStore):
            def renew(self, lease, seconds, now):
                if next(outages, False):
                    raise UnavailableError("the database cannot be reached")
                back.set()
                return super().renew(lease, seconds, now)

        built = begun(store=Flaky())
        built.evaluator.fault = lambda proposal: back.wait(30) or pytest.fail("no heartbeat")
        measure(replace(built.workshop, lease_seconds=0.03), built.trials[0].id)
        assert built.trials[0].status is TrialStatus.FINISHED
