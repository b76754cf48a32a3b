"""Choosing one merge of a searched study, against what the formulas say."""

import pytest

from app.domain.candidates import Balance, Best, Target, Weights
from app.domain.errors import UnmetError
from app.domain.study import MethodSpec, SpaceSpec
from surrogate.aims import Constraint
from surrogate.errors import InfeasibleError, InvalidRequestError
from workers.engine.arrays import gather_evidence
from workers.engine.choices import choose_merge, normalisation_of


@pytest.fixture
def searched(house):
    built = house()
    built.finish()
    return built


def choice(built, wish, *constraints):
    return choose_merge(built.workshop, built.study.id, wish, constraints)


class TestWishes:
    def test_all_weight_on_one_task_is_its_optimum(self, searched):
        assert choice(searched, Weights({"left": 1.0, "right": 0.0})).coefficients == pytest.approx((0.9, 0.2), abs=0.01)

    def test_weights_even_out_the_weighted_relative_loss(self, searched):
        """Own scores are 0.05 and 0.08: the losses relative to them, weighted, are equal at the best compromise."""
        predicted = choice(searched, Weights({"left": 3.0, "right": 1.0})).predicted
        left, right = predicted["left"].score / 0.05 - 1, predicted["right"].score / 0.08 - 1
        assert 3 * left == pytest.approx(right, rel=0.02)

    def test_more_weight_more_score(self, searched):
        lefts = [choice(searched, Weights({"left": weight, "right": 1.0})).predicted["left"].score for weight in (0.5, 1.0, 4.0)]
        assert lefts == sorted(lefts, reverse=True)

    def test_the_best_of_one_task_within_bounds(self, searched):
        found = choice(searched, Best("left"), Constraint("right", 0.3, at_least=False)).predicted
        assert found["right"].score == pytest.approx(0.3, abs=1e-3)
        # on the line between both optima, 0.3 from the right one squared, what remains to the left one
        assert found["left"].score == pytest.approx((0.85**0.5 - 0.3**0.5) ** 2, abs=1e-2)

    def test_a_target_on_the_front_is_met(self, searched):
        found = choice(searched, Target({"left": 0.2125, "right": 0.2125})).predicted
        assert {task: one.score for task, one in found.items()} == pytest.approx({"left": 0.2125, "right": 0.2125}, abs=0.02)

    def test_the_knee_gains_most_over_both(self, searched):
        """The sum of both losses relative to 0.05 and 0.08 is least at the optima's mean, weighted 1/0.05 to 1/0.08."""
        left, right = 1 / 0.05, 1 / 0.08
        mean = [(left * one + right * other) / (left + right) for one, other in zip((0.9, 0.2), (0.2, 0.8), strict=True)]
        assert choice(searched, Balance()).coefficients == pytest.approx(mean, abs=0.02)

    def test_what_cannot_be_had_says_so(self, searched):
        with pytest.raises(InfeasibleError):
            choice(searched, Best("left"), Constraint("left", 0.01, at_least=False), Constraint("right", 0.01, at_least=False))

    @pytest.mark.parametrize("weights", [{"left": 1.0}, {"left": 1.0, "right": 1.0, "other": 1.0}])
    def test_every_task_and_no_other_needs_a_weight(self, searched, weights):
        with pytest.raises(InvalidRequestError, match="right|other"):
            choice(searched, Weights(weights))

    def test_nothing_measured_nothing_chosen(self, house):
        with pytest.raises(UnmetError):
            choice(house(), Balance())

    def test_choices_are_predicted_as_points_are(self, searched):
        point = searched.store.front(searched.study.id).points[0]
        found = choice(searched, Best("left"))
        assert found.coefficients == pytest.approx(point.coefficients, abs=0.01)
        assert found.predicted["right"].score == pytest.approx(point.predicted["right"].score, abs=0.01)


class TestNormalisation:
    def normalisation(self, built, study):
        evidence = gather_evidence(study, built.trials, built.evaluator, built.blobs.get)
        return normalisation_of(evidence, built.trials)

    def test_own_scores_are_the_yardstick(self, spec, searched):
        found = self.normalisation(searched, spec())
        assert found.ideal.tolist() == pytest.approx([0.05, 0.08], abs=1e-5)
        assert found.nadir.tolist() == pytest.approx([0.10, 0.16], abs=1e-5)

    def test_larger_is_better_loses_down_to_nothing(self, spec, house):
        study = spec("accuracy", method=MethodSpec(surrogate="quadratic", budget=12))
        built = house(study)
        built.run()
        found = self.normalisation(built, study)
        assert found.nadir.tolist() == [0.0, 0.0]

    def test_the_best_measured_score_where_no_tuned_model_could_be_measured(self, spec, house, unmeasurable):
        study = spec(space=SpaceSpec(0.0, 0.95))
        built = house(study, fault=unmeasurable(lambda proposal: sorted(proposal.coefficients) == [0.0, 1.0]))
        built.run()
        lefts = [trial.scores["left"] for trial in built.trials if trial.scores and trial.proposal.origin in ("design", "verify")]
        assert float(self.normalisation(built, study).ideal[0]) == pytest.approx(min(lefts), abs=1e-6)
