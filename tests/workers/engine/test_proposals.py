"""The trials of every stage."""

import pytest

from app.domain.study import FrontSpec, MethodSpec, SpaceSpec, TransformSpec
from app.domain.trial import Proposal, TrialStatus
from workers.engine.merges import merge_of
from workers.engine.proposals import propose_design, propose_report


def budgeted(budget, seed=3):
    return MethodSpec(surrogate="quadratic", budget=budget, seed=seed)


def of_origin(proposals, origin):
    return [proposal for proposal in proposals if proposal.origin == origin]


class TestDesign:
    def test_the_budget_counts_design_trials_only(self, spec):
        assert len(of_origin(propose_design(spec(method=budgeted(17)), 2), "design")) == 17

    def test_all_on_the_search_split_and_none_twice(self, spec):
        proposals = propose_design(spec(method=budgeted(30)), 2)
        assert {proposal.split for proposal in proposals} == {"search"}
        assert len({merge_of(proposal) for proposal in proposals}) == len(proposals)

    def test_base_and_tuned_models_are_the_designs_own(self, spec):
        labels = {proposal.label for proposal in of_origin(propose_design(spec(), 2), "baseline")}
        assert labels.isdisjoint({"base", "left", "right"})

    def test_average_stands_for_task_arithmetic_at_the_same_coefficients(self, spec):
        labels = [proposal.label for proposal in propose_design(spec(), 2)]
        assert "average" in labels
        assert "task_arithmetic 0.5" not in labels

    def test_a_box_without_one_measures_the_tuned_models_beside_the_design(self, spec):
        proposals = propose_design(spec(space=SpaceSpec(0.0, 0.6)), 2)
        assert {"left", "right"} <= {proposal.label for proposal in of_origin(proposals, "baseline")}
        assert all(max(proposal.coefficients) <= 0.6 for proposal in of_origin(proposals, "design"))

    def test_under_a_transform_the_tuned_models_are_measured_without_it(self, spec):
        trimmed = TransformSpec("magnitude", density=0.5)
        proposals = propose_design(spec(transform=trimmed), 2)
        assert {proposal.transform for proposal in of_origin(proposals, "design")} == {trimmed}
        plain = [proposal.label for proposal in proposals if proposal.transform == TransformSpec()]
        assert plain == ["left", "right"]

    def test_groups_widen_every_vector(self, spec):
        assert {len(proposal.coefficients) for proposal in propose_design(spec(tuned=3), 6)} == {6}

    def test_the_seed_decides(self, spec):
        assert propose_design(spec(method=budgeted(12)), 2) == propose_design(spec(method=budgeted(12)), 2)
        assert propose_design(spec(method=budgeted(12)), 2) != propose_design(spec(method=budgeted(12, seed=4)), 2)


class TestReport:
    @pytest.fixture
    def searched(self, spec, trial):
        """Every search trial measured: squared error grows with the distance from (0.4, 0.4); then verified points."""

        def build(study, *verified):
            proposals = [*propose_design(study, 2), *(Proposal("verify", "search", row, transform=study.transform) for row, _ in verified)]
            near = [{name: 0.1 + sum((c - 0.4) ** 2 for c in one.coefficients) for name in ("left", "right")} for one in proposals]
            scores = [*near[: len(near) - len(verified)], *(found for _, found in verified)]
            return [trial(number, one, **found) for number, (one, found) in enumerate(zip(proposals, scores, strict=True))]

        return build

    def test_references_and_the_best_of_each_family(self, spec, searched):
        labels = [proposal.label for proposal in propose_report(spec(), 2, searched(spec()))]
        assert labels == ["base", "left", "right", "average", "task_arithmetic 0.4", "ties 0.3", "dare 0.3"]

    def test_all_on_the_report_split(self, spec, searched):
        assert {proposal.split for proposal in propose_report(spec(), 2, searched(spec()))} == {"report"}

    def test_beaten_verified_points_are_left_out(self, spec, searched):
        good, bad = ((0.3, 0.7), {"left": 0.1, "right": 0.2}), ((0.7, 0.3), {"left": 0.2, "right": 0.3})
        study = spec(baselines=())
        verified = of_origin(propose_report(study, 2, searched(study, good, bad)), "verify")
        assert [proposal.coefficients for proposal in verified] == [(0.3, 0.7)]

    def test_verified_points_carry_the_studys_transform(self, spec, searched):
        study = spec(transform=TransformSpec("magnitude", density=0.5), baselines=())
        verified = of_origin(propose_report(study, 2, searched(study, ((0.3, 0.7), {"left": 0.1, "right": 0.2}))), "verify")
        assert [proposal.transform for proposal in verified] == [study.transform]

    def test_a_verified_point_that_is_a_tuned_model_is_measured_once(self, spec, searched):
        report = propose_report(spec(), 2, searched(spec(), ((1.0, 0.0), {"left": 0.1, "right": 0.2})))
        assert [proposal.coefficients for proposal in report].count((1.0, 0.0)) == 1

    def test_no_more_verified_points_than_the_front_holds(self, spec, searched):
        study = spec(front=FrontSpec(points=2, verify=3))
        rows = [((0.2, 0.1 * place), {"left": 1e-4 * place, "right": 5e-4 - 1e-4 * place}) for place in (1, 2, 3)]
        assert len(of_origin(propose_report(study, 2, searched(study, *rows)), "verify")) == 2

    def test_families_that_failed_on_the_search_split_are_left_out(self, spec, trial):
        trials = [trial(number, one, TrialStatus.FAILED) for number, one in enumerate(propose_design(spec(), 2))]
        assert [proposal.label for proposal in propose_report(spec(), 2, trials)] == ["base", "left", "right"]
