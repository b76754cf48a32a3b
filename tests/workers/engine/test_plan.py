"""Which step is due, for every state that the trials of a study can be in."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.domain.study import Failure, FrontSpec, MethodSpec, Study, StudyStatus
from app.domain.trial import Proposal, TrialStatus
from workers.engine.plan import plan
from workers.engine.stages import Await, Finish, Keep, Nothing, Propose, Stage

BORN = datetime(2026, 1, 1, tzinfo=UTC)
PROPOSED, MEASURING, OFFERED, ASKED, FINISHED, FAILED = TrialStatus

# (trials as origin, split, status) -> step
TABLE = {
    "nothing yet": ([], Propose(Stage.DESIGN)),
    "design waits": ([("design", "search", PROPOSED)], Await(("trial_0",))),
    "design under way": ([("design", "search", FINISHED), ("design", "search", MEASURING)], Await(("trial_1",))),
    "a baseline is late": ([("design", "search", FINISHED), ("baseline", "search", PROPOSED)], Await(("trial_1",))),
    "design in": ([("design", "search", FINISHED), ("baseline", "search", FINISHED)], Propose(Stage.VERIFY)),
    "design in, one failed": ([("design", "search", FINISHED), ("design", "search", FAILED)], Propose(Stage.VERIFY)),
    "verification under way": ([("design", "search", FINISHED), ("verify", "search", MEASURING)], Await(("trial_1",))),
    "verification in": ([("design", "search", FINISHED), ("verify", "search", FINISHED)], Propose(Stage.REPORT)),
    "verification failed": ([("design", "search", FINISHED), ("verify", "search", FAILED)], Propose(Stage.REPORT)),
    "report under way": ([("verify", "search", FINISHED), ("verify", "report", PROPOSED)], Await(("trial_1",))),
    "report in": ([("verify", "search", FINISHED), ("verify", "report", FINISHED)], Finish()),
    "report failed": ([("verify", "search", FINISHED), ("design", "report", FAILED)], Finish()),
}


def study_of(spec, status=StudyStatus.RUNNING) -> Study:
    return Study("study_1", spec, status, BORN, BORN)


@pytest.fixture
def trials(trial):
    def build(rows):
        return [
            trial(number, Proposal(origin, split, (0.1 * number, 0.2)), status) for number, (origin, split, status) in enumerate(rows)
        ]

    return build


class TestMap:
    @pytest.mark.parametrize(("rows", "step"), TABLE.values(), ids=TABLE)
    def test_step_follows_from_the_trials(self, spec, trials, rows, step):
        assert plan(study_of(spec()), trials(rows)) == step

    def test_a_study_without_verification_goes_from_design_to_report(self, spec, trials):
        unverified = spec(front=FrontSpec(points=12, verify=0))
        assert plan(study_of(unverified), trials([("design", "search", FINISHED)])) == Propose(Stage.REPORT)


class TestExtension:
    """Three trials of the design are in, then a whole round of the closing stages."""

    ROUND = [*[("design", "search", FINISHED)] * 3, ("verify", "search", FINISHED), ("verify", "report", FINISHED)]

    @pytest.mark.parametrize(
        ("more", "step"),
        [
            ([], Propose(Stage.DESIGN)),
            ([("design", "search", FINISHED)], Propose(Stage.VERIFY)),
            ([("design", "search", PROPOSED)], Await(("trial_5",))),
            ([("design", "search", FINISHED), ("verify", "search", FINISHED)], Propose(Stage.REPORT)),
            ([("design", "search", FINISHED), ("verify", "search", FINISHED), ("verify", "report", FINISHED)], Finish()),
        ],
    )
    def test_goes_through_all_stages_again(self, spec, trials, more, step):
        extended = replace(study_of(spec(method=MethodSpec(budget=4))), revision=1)
        assert plan(extended, trials([*self.ROUND, *more])) == step


class TestStatus:
    @pytest.mark.parametrize("status", [StudyStatus.FINISHED, StudyStatus.FAILED])
    @pytest.mark.parametrize("rows", [[], [("design", "search", PROPOSED)], [("design", "report", FINISHED)]])
    def test_a_study_that_is_over_asks_for_nothing(self, spec, trials, status, rows):
        assert plan(study_of(spec(), status), trials(rows)) == Nothing()

    @pytest.mark.parametrize("rows", [[], [("design", "search", FAILED)], [("design", "report", FINISHED)]])
    def test_a_cancelled_study_keeps_what_it_found(self, spec, trials, rows):
        assert plan(study_of(spec(), StudyStatus.CANCELLED), trials(rows)) == Keep()

    def test_a_cancelled_study_without_a_front_asks_for_nothing(self, spec):
        ended = replace(study_of(spec(), StudyStatus.CANCELLED), failure=Failure("unmet", "nothing was measured"))
        assert plan(ended, []) == Nothing()

    def test_a_submitted_study_is_planned_like_a_running_one(self, spec):
        assert plan(study_of(spec(), StudyStatus.SUBMITTED), []) == Propose(Stage.DESIGN)


class TestExact:
    @pytest.mark.parametrize(("rows", "step"), TABLE.values(), ids=TABLE)
    def test_goes_through_the_same_stages(self, spec, trials, rows, step):
        assert plan(study_of(spec(method=MethodSpec(name="exact"))), trials(rows)) == step

    def test_begins_nothing_anew_for_more_budget(self, spec, trials):
        rows = [*[("design", "search", FINISHED)] * 3, ("verify", "search", FINISHED), ("verify", "report", FINISHED)]
        extended = replace(study_of(spec(method=MethodSpec(name="exact", budget=40))), revision=1)
        assert plan(extended, trials(rows)) == Finish()
