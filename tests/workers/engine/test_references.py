"""The named merges that fronts are compared with."""

import pytest

from app.domain.study import TransformSpec
from app.domain.trial import Proposal, TrialStatus
from workers.engine.references import best_of_families, known_references, references


def by_name(found):
    return {reference.name: reference for reference in found}


class TestReferences:
    def test_all_families_by_name(self, spec):
        names = list(by_name(references(spec(), 2)))
        scales = [f"task_arithmetic {scale}" for scale in ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1")]
        transformed = [f"{family} {scale}" for family in ("ties", "dare") for scale in ("0.3", "0.6", "1")]
        assert names == ["base", "left", "right", "average", *scales, *transformed]

    def test_only_the_families_that_the_spec_wants(self, spec):
        families = {reference.family for reference in references(spec(baselines=("dare",)), 2)}
        assert families == {"base", "individual", "dare"}

    def test_a_tuned_model_alone_has_all_its_groups_at_one(self, spec):
        found = by_name(references(spec(tuned=3), 6))
        assert found["base"].coefficients == (0.0,) * 6
        assert found["right"].coefficients == (0.0, 0.0, 1.0, 1.0, 0.0, 0.0)

    def test_average_gives_every_group_its_share(self, spec):
        assert by_name(references(spec(tuned=4), 8))["average"].coefficients == (0.25,) * 8

    def test_published_settings_of_ties_and_dare(self, spec):
        found = by_name(references(spec(), 2))
        assert found["ties 0.3"].transform == TransformSpec("ties", density=0.2)
        assert found["dare 0.6"].transform == TransformSpec("dare", drop=0.9, seed=3)
        assert found["dare 0.6"].coefficients == (0.6, 0.6)

    def test_the_studys_transform_is_that_of_average_and_task_arithmetic_only(self, spec):
        trimmed = TransformSpec("magnitude", density=0.5)
        found = by_name(references(spec(transform=trimmed), 2))
        assert found["average"].transform == found["task_arithmetic 0.4"].transform == trimmed
        assert found["left"].transform == found["base"].transform == TransformSpec()


class TestAdaMerging:
    def test_it_is_known_once_it_was_proposed(self, spec, trial):
        wanted = spec(baselines=("average", "adamerging"))
        assert "adamerging" not in by_name(known_references(wanted, 2, ()))
        proposals = [Proposal("baseline", split, (0.2, 0.7), "adamerging") for split in ("search", "report")]
        trials = [trial(number, proposal, TrialStatus.FINISHED) for number, proposal in enumerate(proposals)]
        known = known_references(wanted, 2, trials)
        assert [one.name for one in known] == ["base", "left", "right", "average", "adamerging"]
        assert known[-1].is_baseline and known[-1].coefficients == (0.2, 0.7)


class TestOrigin:
    def test_on_the_search_split_no_reference_feeds_the_surrogates(self, spec):
        assert {reference.proposal("search").origin for reference in references(spec(), 2)} == {"baseline"}

    def test_on_the_report_split_base_and_tuned_models_are_of_the_design(self, spec):
        origins = {reference.name: reference.proposal("report").origin for reference in references(spec(), 2)}
        assert origins["base"] == origins["left"] == "design"
        assert origins["average"] == origins["ties 1"] == "baseline"


class TestBestOfFamilies:
    def test_highest_merit_wins_within_its_family(self, spec):
        found = references(spec(), 2)
        merit = {reference.merge: 0.1 for reference in found}
        merit[by_name(found)["task_arithmetic 0.7"].merge] = 0.9
        merit[by_name(found)["dare 1"].merge] = 0.2
        best = [reference.name for reference in best_of_families(found, merit)]
        assert best == ["average", "task_arithmetic 0.7", "ties 0.3", "dare 1"]

    def test_a_family_without_a_measured_member_is_left_out(self, spec):
        found = references(spec(), 2)
        merit = {reference.merge: 0.1 for reference in found if reference.family == "ties"}
        assert [reference.family for reference in best_of_families(found, merit)] == ["ties"]

    @pytest.mark.parametrize("name", ["base", "left"])
    def test_what_is_no_baseline_never_wins(self, spec, name):
        found = references(spec(), 2)
        assert best_of_families(found, {by_name(found)[name].merge: 9.0}) == ()
