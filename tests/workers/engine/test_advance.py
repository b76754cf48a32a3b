"""Whole studies, from submitted to front, against what the formulas say."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from app.domain.study import FrontSpec, MethodSpec, SpaceSpec, StudyStatus, TransformSpec
from app.domain.trial import TrialStatus
from app.store.codec import decode
from checkpoints.pairing import Pairing
from surrogate.pareto import non_dominated
from tests.workers.engine.conftest import AnalyticEvaluator
from workers.engine.advance import advance
from workers.engine.arrays import stack_utilities


class Descending(AnalyticEvaluator):
    """With gradients to take, as its seam says."""

    def adamerge(self, transform, space, steps, seed):
        return 0.25, 0.5


OPTIMA = torch.tensor([[0.9, 0.2], [0.2, 0.8]], dtype=torch.float64)


def distance_from_segment(points: torch.Tensor) -> torch.Tensor:
    """How far points lie from the line between both optima: the Pareto set of two equal bowls."""
    along = OPTIMA[1] - OPTIMA[0]
    share = ((points - OPTIMA[0]) @ along / along.square().sum()).clamp(0, 1)
    return (points - OPTIMA[0] - share[:, None] * along).norm(dim=1)


class TestPairing:
    def test_is_known_with_the_first_proposals(self, house):
        built = house()
        built.run(jobs=1)
        assert {trial.status for trial in built.trials} == {TrialStatus.PROPOSED}
        pairing = built.study.pairing
        assert decode(Pairing, built.blobs.get(pairing).decode()) == built.evaluator.pairing
        assert built.finish().pairing == pairing


class TestFront:
    def test_lies_on_the_analytic_front_from_end_to_end(self, house):
        front = house().finish()
        points = torch.tensor([point.coefficients for point in front.points], dtype=torch.float64)
        assert len(points) == 12
        assert float(distance_from_segment(points).max()) < 0.005
        for optimum in OPTIMA:
            assert float((points - optimum).norm(dim=1).min()) < 0.005

    def test_predicts_the_true_scores(self, house):
        for point in house().finish().points:
            squared = (torch.tensor(point.coefficients, dtype=torch.float64) - OPTIMA).square().sum(1)
            assert [point.predicted[task].score for task in ("left", "right")] == pytest.approx(squared.tolist(), abs=1e-5)

    def test_verified_points_carry_both_splits_and_span_the_front(self, spec, house):
        front = house(spec(front=FrontSpec(points=12, verify=8))).finish()
        verified = [point for point in front.points if point.search]
        assert len(verified) == 8
        assert all(point.report.keys() == point.search.keys() == {"left", "right"} for point in verified)
        assert front.points[0] in verified
        assert front.points[-1] in verified

    def test_no_point_is_beaten_by_a_measured_one(self, spec, house):
        front = house(spec("accuracy", method=MethodSpec(surrogate="quadratic", budget=14))).finish()
        known = [point.search or {task: found.score for task, found in point.predicted.items()} for point in front.points]
        scores = stack_utilities(spec("accuracy"), known)
        for place, point in enumerate(front.points):
            if point.search:
                beaten = (scores[place] >= scores).all(1) & (scores[place] > scores).any(1)
                assert not bool(beaten.any())

    def test_points_are_in_order_of_the_first_task(self, house):
        lefts = [point.predicted["left"].score for point in house().finish().points]
        assert lefts == pytest.approx(sorted(lefts), abs=1e-6)

    def test_references_are_measured_and_named(self, house):
        front = house().finish()
        assert front.base.search["left"] == pytest.approx(0.85, abs=1e-4)
        assert {one.name: round(one.report["right"], 3) for one in front.individuals} == {"left": 1.28, "right": 0.08}
        named = {one.name: one for one in front.baselines}
        assert named["task_arithmetic 0.5"].search == named["average"].search
        reported = {one.name for one in front.baselines if one.report}
        assert reported == {"average", "task_arithmetic 0.5", "ties 0.6", "dare 0.6"}

    def test_figures_from_one_reference_point(self, house):
        figures = house().finish().figures
        # worst of base and tuned models, a tenth of their range below: 1.45 + 0.14 and 1.28 + 0.12
        assert figures.reference == pytest.approx({"left": 1.59, "right": 1.40}, abs=1e-4)
        assert 0 < figures.measured_hypervolume < figures.hypervolume < 1.59 * 1.40
        assert figures.report_hypervolume == pytest.approx(figures.measured_hypervolume, abs=1e-4)
        assert set(figures.win_rate) == {"average", "task_arithmetic 0.5", "ties 0.6", "dare 0.6"}
        assert all(0 <= rate <= 1 for rate in figures.win_rate.values())
        assert figures.preference_regret is not None

    def test_fits_say_how_good_they_are(self, house):
        fits = house().finish().fits
        assert [(fit.task, fit.surrogate, fit.trials) for fit in fits] == [("left", "quadratic", 13), ("right", "quadratic", 13)]
        assert min(fit.loo_r2 for fit in fits) > 0.999
        assert fits[0].predicted == pytest.approx(fits[0].measured, abs=1e-5)
        assert fits[0].details["rank"] == 6

    def test_evaluations_are_counted_by_origin_and_split(self, house):
        built = house()
        front = built.finish()
        assert front.evaluations == Counter(f"{trial.proposal.origin}:{trial.proposal.split}" for trial in built.trials)
        assert front.evaluations["design:search"] == 10
        assert sum(front.evaluations.values()) == sum(built.evaluator.asked.values())


class TestAdaMerging:
    def test_is_one_more_baseline_on_both_splits(self, spec, house):
        built = house(spec(baselines=("adamerging",)))
        built.evaluator = Descending(built.evaluator.spec)
        front = built.finish()
        (found,) = front.baselines
        assert (found.name, found.coefficients) == ("adamerging", (0.25, 0.5))
        assert found.search.keys() == found.report.keys() == {"left", "right"}
        assert front.figures.win_rate.keys() == {"adamerging"}

    def test_fails_the_study_where_no_network_runs(self, spec, house):
        built = house(spec(baselines=("adamerging",)))
        built.run()
        assert built.study.status is StudyStatus.FAILED
        assert "adamerging takes gradients" in built.study.failure.message


class TestVariants:
    def test_same_seed_same_front(self, house):
        assert house().finish() == house().finish()

    def test_another_seed_another_design(self, spec, house):
        other = spec(method=MethodSpec(surrogate="quadratic", budget=10, seed=4, link="identity"))
        first, second = house(), house(other)
        assert first.finish().points != second.finish().points
        assert [one.proposal for one in first.trials] != [one.proposal for one in second.trials]

    def test_the_genetic_solver_finds_the_same_set(self, spec, house):
        front = house(spec(front=FrontSpec(points=8, verify=0, solver="nsga3"))).finish()
        points = torch.tensor([point.coefficients for point in front.points], dtype=torch.float64)
        assert float(distance_from_segment(points).mean()) < 0.05

    def test_without_verification_nothing_is_measured_on_the_front(self, spec, house):
        front = house(spec(front=FrontSpec(points=12, verify=0))).finish()
        assert not any(point.search or point.report for point in front.points)
        assert front.figures.measured_hypervolume is front.figures.report_hypervolume is front.figures.preference_regret is None
        assert front.base.report

    def test_under_a_transform_own_scores_are_the_tuned_models(self, spec, house):
        front = house(spec(transform=TransformSpec("magnitude", density=0.5))).finish()
        assert {one.name: round(one.search[one.name], 3) for one in front.individuals} == {"left": 0.05, "right": 0.08}
        # merges shrink to 0.7 of their coefficients here, so the optimum of `right` moves out by as much
        assert front.points[-1].coefficients == pytest.approx((0.2 / 0.7, 1.0), abs=0.01)

    def test_grouped_coefficients_are_named(self, spec, house):
        grouped = spec(space=SpaceSpec(groups=("attention", "mlp")), method=MethodSpec(surrogate="quadratic", budget=20))
        front = house(grouped, groups=2).finish()
        assert front.columns == ("left:attention", "left:mlp", "right:attention", "right:mlp")
        assert {len(point.coefficients) for point in front.points} == {4}

    def test_one_point_asked_one_point_given(self, spec, house):
        assert len(house(spec(front=FrontSpec(points=1, verify=1))).finish().points) == 1

    def test_a_front_of_logits_keeps_what_the_tuned_models_know(self, spec, house):
        study = spec("accuracy", method=MethodSpec(surrogate="quadratic", budget=20, seed=0), front=FrontSpec(points=12, verify=8))
        front = house(study).finish()
        scores = stack_utilities(study, [point.search for point in front.points if point.search])
        assert bool(non_dominated(scores).all())
        # each task is solved without a mistake at its own optimum, and next to nothing of it at the base
        assert float(scores.amax(0).min()) > 0.85 > max(front.base.search.values()) + 0.2
        assert all(0 <= found.low <= found.score <= found.high <= 1 for point in front.points for found in point.predicted.values())


class TestFailures:
    def test_failed_trials_are_left_out(self, spec, house, unmeasurable):
        built = house(fault=unmeasurable(lambda one: one.origin == "design" and one.coefficients[0] > 0.85))
        front = built.finish()
        failed = [trial for trial in built.trials if trial.status is TrialStatus.FAILED]
        assert failed
        assert {trial.failure.message for trial in failed} == {"left: outputs are not finite"}
        assert front.evaluations["failed"] == len(failed)
        assert front.evaluations["design:search"] < 10

    def test_a_tuned_model_that_cannot_be_measured_is_no_reference(self, house, unmeasurable):
        front = house(fault=unmeasurable(lambda one: one.coefficients == (1.0, 0.0))).finish()
        assert [one.name for one in front.individuals] == ["right"]

    def test_failed_verification_leaves_a_predicted_front(self, house, unmeasurable):
        front = house(fault=unmeasurable(lambda one: one.origin == "verify")).finish()
        assert len(front.points) == 12
        assert not any(point.search for point in front.points)

    def test_failed_reports_leave_the_rest(self, house, unmeasurable):
        front = house(fault=unmeasurable(lambda one: one.split == "report")).finish()
        assert front.figures.measured_hypervolume is not None
        assert front.figures.report_hypervolume is None
        assert front.figures.win_rate == {}

    def test_too_few_left_fails_with_the_number_that_is_needed(self, house, unmeasurable):
        built = house(fault=unmeasurable(lambda one: one.origin == "design" and one.coefficients[0] > 0.3))
        built.run()
        assert built.study.status is StudyStatus.FAILED
        assert built.study.failure.code == "surrogate.unidentified"
        assert "6 free parameters" in built.study.failure.message
        assert "trials failed, the first: left: outputs are not finite" in built.study.failure.message

    def test_nothing_measured_fails_with_the_first_reason(self, house, unmeasurable):
        built = house(fault=unmeasurable(lambda one: True))
        built.run()
        assert built.study.failure.code == "unmet"
        assert "left: outputs are not finite" in built.study.failure.message


class TestIdempotence:
    def test_a_submitted_study_runs_from_its_first_advance(self, house):
        built = house()
        built.run(jobs=1)
        assert built.study.status is StudyStatus.RUNNING

    def test_advancing_while_trials_are_open_adds_none(self, house):
        built = house()
        built.run(jobs=4)
        before = built.trials
        advance(built.workshop, built.study.id)
        assert built.trials == before

    def test_advancing_a_finished_study_changes_nothing(self, house):
        built = house()
        front = built.finish()
        advance(built.workshop, built.study.id)
        assert built.store.front(built.study.id) == front
        assert built.jobs.waiting == ()

    def test_who_comes_second_adds_nothing(self, house):
        """Another process proposes the design between this one's reading and its writing."""
        built = house()
        slow = []

        def evaluator_of(study):
            if not slow:
                slow.append(study)
                advance(built.workshop, study.id)
            return built.evaluator

        advance(replace(built.workshop, evaluator_of=evaluator_of), built.study.id)
        assert [trial.number for trial in built.trials] == list(range(len(built.trials)))
        assert sum(trial.proposal.origin == "design" for trial in built.trials) == 10

    def test_a_cancelled_study_stays_cancelled(self, house):
        built = house()
        built.run(jobs=3)
        built.store.step_study(built.study.id, StudyStatus.CANCELLED)
        built.run()
        assert built.study.status is StudyStatus.CANCELLED
        assert built.jobs.waiting == ()
