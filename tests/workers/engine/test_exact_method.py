"""`exact`: D + 1 trials, then arithmetic; what is measured afterwards only confirms it."""

from dataclasses import replace

import pytest
import torch

from app.domain.front import Front
from app.domain.study import MethodSpec, SpaceSpec, StudyStatus
from workers.evaluators.protocol import Evaluation

EXACT = MethodSpec("exact", budget=10, seed=3)


@pytest.fixture
def exact_house(house, spec):
    """A house whose evaluator keeps its outputs as they are."""

    def make(metric="accuracy", tuned=2, groups=1, **changes):
        built = house(spec(metric, tuned, method=EXACT, **changes), groups=groups)
        rounded = built.evaluator.evaluate

        def evaluate(proposal):
            scores = rounded(proposal).scores
            effective = _effective(proposal)
            outputs = {name: task.outputs(effective, proposal.split) for name, task in built.evaluator.scorers.items()}
            return Evaluation(scores, outputs)

        built.evaluator.evaluate = evaluate
        return built

    return make


def _effective(proposal):
    return torch.tensor(proposal.coefficients) * (1.0 if proposal.transform.name == "none" else 0.7)


def gaps(front: Front) -> list[float]:
    """Predicted less measured, of every verified score."""
    return [abs(point.predicted[task].score - score) for point in front.points for task, score in point.search.items()]


class TestStudy:
    def test_predicts_what_verification_measures(self, exact_house):
        front = exact_house().finish()
        assert len(gaps(front)) >= 6
        assert max(gaps(front)) == 0.0

    def test_predicts_errors_with_what_their_examples_leave_open(self, exact_house):
        front = exact_house("mse").finish()
        assert max(gaps(front)) < 1e-5
        assert all(told.low < told.score < told.high for point in front.points for told in point.predicted.values())

    @pytest.mark.parametrize(("tuned", "trials"), [(2, 3), (4, 5)])
    def test_searches_with_a_trial_more_than_there_are_coefficients(self, exact_house, tuned, trials):
        built = exact_house(tuned=tuned)
        front = built.finish()
        assert front.evaluations["design:search"] == trials
        assert {fit.surrogate for fit in front.fits} == {"exact"}
        assert [fit.details["checked"] for fit in front.fits] == [front.evaluations["verify:search"]] * 2

    def test_measures_what_it_verified_on_the_report_split(self, exact_house):
        front = exact_house().finish()
        assert all(point.report.keys() == point.search.keys() for point in front.points)
        assert any(point.report for point in front.points)
        assert front.figures.preference_regret is not None

    def test_scales_groups_of_layers_one_by_one(self, exact_house):
        built = exact_house(groups=2, space=SpaceSpec(groups=("one",)))
        front = built.finish()
        assert front.evaluations["design:search"] == 5
        assert max(gaps(front)) == 0.0

    def test_stays_in_a_box_without_origin(self, exact_house):
        front = exact_house(space=SpaceSpec(0.25, 0.75)).finish()
        assert all(0.25 <= value <= 0.75 for point in front.points for value in point.coefficients)
        assert max(gaps(front)) == 0.0

    def test_compares_with_every_baseline(self, exact_house):
        front = exact_house().finish()
        assert {one.name.split()[0] for one in front.baselines} == {"average", "task_arithmetic", "ties", "dare"}

    def test_more_budget_buys_nothing(self, exact_house):
        built = exact_house()
        front, before = built.finish(), len(built.trials)
        built.store.extend(built.study.id, replace(built.study.spec, method=replace(EXACT, budget=20)))
        built.jobs.send("advance_study", built.study.id)
        assert built.finish().points == front.points
        assert len(built.trials) == before

    def test_outputs_that_are_not_affine_fail_it(self, exact_house):
        built = exact_house()
        straight = built.evaluator.evaluate

        def bent(proposal):
            found = straight(proposal)
            square = sum(value * value for value in proposal.coefficients)
            return Evaluation(found.scores, {task: outputs * (1 + square) for task, outputs in found.outputs.items()})

        built.evaluator.evaluate = bent
        built.run()
        assert built.study.status is StudyStatus.FAILED
        assert built.study.failure is not None and "not affine" in built.study.failure.message
