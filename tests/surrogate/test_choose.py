"""Choices do what they say: preferences trade, constraints hold, what cannot be had is said."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from surrogate.aims import Constraint, Knee, Maximise, Normalisation, Prefer, Reach
from surrogate.choose import choose
from surrogate.design import initial_design
from surrogate.errors import InfeasibleError, InvalidRequestError
from surrogate.figures import preference_weights
from surrogate.history import History, Scale
from surrogate.quadratic import Quadratic, fit_quadratic

ACCURACY, LOSS = Scale(0.0, 1.0, examples=10**6), Scale(None, None, maximize=False)


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def make_fits() -> dict[str, Quadratic]:
    """Two accuracies that want different corners, and a loss that wants the origin: loss = 0.2 + ‖c‖²."""
    points = initial_design(2, 1, 40, 0, 0.0, 1.0)
    peaks = {"mnist": vector(0.9, 0.1), "landsat": vector(0.1, 0.9)}
    fits = {
        name: fit_quadratic(History(points, torch.sigmoid(3.0 - 4.0 * (points - peak).square().sum(1)), ACCURACY))
        for name, peak in peaks.items()
    }
    return fits | {"loss": fit_quadratic(History(points, 0.2 + points.square().sum(1), LOSS))}


FITS = make_fits()
DIRECTIONS = {"mnist": True, "landsat": True, "loss": False}
SCALES = Normalisation(ideal=vector(1.0, 1.0, 0.2), nadir=vector(0.2, 0.2, 2.2))


def scores(coefficients: Tensor) -> dict[str, float]:
    return {name: float(fit.predict(coefficients[None]).smoothed) for name, fit in FITS.items()}


def pick(aim: Prefer | Reach | Knee | Maximise, *constraints: Constraint) -> Tensor:
    return choose(FITS, DIRECTIONS, aim, constraints, 0.0, 1.0, 2)


class TestPrefer:
    @settings(max_examples=15)
    @given(st.integers(0, 10**6))
    def test_no_random_point_serves_the_preference_better(self, seed: int) -> None:
        weights = preference_weights(3, 1, seed)[0]
        points = torch.rand(3000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        measured = torch.stack([fit.predict(points).smoothed for fit in FITS.values()], 1)
        chosen = vector(*scores(pick(Prefer(weights, SCALES))).values())
        loss, random = (((weights * (SCALES.ideal - reached) / (SCALES.ideal - SCALES.nadir)).amax(-1)) for reached in (chosen, measured))
        # the augmentation may give away a fiftieth of the other tasks' shortfall
        assert float(loss) <= float(random.min()) + 0.02

    def test_a_larger_weight_gets_a_better_score(self) -> None:
        got = [scores(pick(Prefer(vector(weight, 1.0, 0.1), SCALES)))["mnist"] for weight in (0.2, 1.0, 5.0)]
        assert got[0] < got[1] < got[2]

    def test_weights_matter_only_by_their_ratio(self) -> None:
        ones, tens = (pick(Prefer(vector(2.0, 1.0, 1.0) * factor, SCALES)) for factor in (1.0, 10.0))
        torch.testing.assert_close(ones, tens, atol=1e-6, rtol=0)

    @pytest.mark.parametrize("weights", [[0, 0, 0], [1, -1, 1], [1, float("nan"), 1]])
    def test_senseless_weights_are_refused(self, weights: list[float]) -> None:
        with pytest.raises(InvalidRequestError):
            Prefer(vector(*weights), SCALES)

    def test_a_weight_too_few_is_refused(self) -> None:
        with pytest.raises(InvalidRequestError, match="mnist, landsat, loss"):
            pick(Prefer(vector(1.0, 1.0), SCALES))


class TestConstraints:
    def test_one_task_is_maximised_where_the_others_hold(self) -> None:
        chosen = scores(pick(Maximise("mnist"), Constraint("landsat", 0.8, at_least=True)))
        assert chosen["landsat"] == pytest.approx(0.8, abs=1e-4) and chosen["landsat"] >= 0.8
        assert chosen["mnist"] < scores(pick(Maximise("mnist")))["mnist"]

    def test_losses_are_kept_below(self) -> None:
        chosen = scores(pick(Maximise("mnist"), Constraint("loss", 0.6, at_least=False)))
        assert chosen["loss"] <= 0.6
        assert chosen["loss"] == pytest.approx(0.6, abs=1e-4)

    def test_the_smallest_loss_is_its_maximum(self) -> None:
        torch.testing.assert_close(pick(Maximise("loss")), vector(0.0, 0.0), atol=1e-5, rtol=0)

    def test_preferences_obey_constraints(self) -> None:
        free, bound = Prefer(vector(1.0, 1.0, 1.0), SCALES), Constraint("mnist", 0.94, at_least=True)
        assert scores(pick(free))["mnist"] < 0.94 <= scores(pick(free, bound))["mnist"]

    def test_a_sliver_of_feasible_points_is_found(self) -> None:
        best = scores(pick(Maximise("mnist")))["mnist"]
        chosen = scores(pick(Maximise("landsat"), Constraint("mnist", best - 1e-6, at_least=True)))
        assert chosen["mnist"] >= best - 1e-6

    def test_a_score_out_of_reach_is_said_with_the_best(self) -> None:
        best = scores(pick(Maximise("mnist")))["mnist"]
        with pytest.raises(InfeasibleError, match=r"mnist >= 0\.99 \(best reachable 0\.95") as caught:
            pick(Maximise("landsat"), Constraint("mnist", 0.99, at_least=True))
        assert caught.value.reachable == pytest.approx((best,), abs=1e-6)

    def test_scores_out_of_reach_together_are_said_each_alone(self) -> None:
        with pytest.raises(InfeasibleError, match="stands alone") as caught:
            pick(Maximise("loss"), Constraint("mnist", 0.9, at_least=True), Constraint("landsat", 0.9, at_least=True))
        assert min(caught.value.reachable) > 0.94

    def test_an_unknown_task_is_refused(self) -> None:
        with pytest.raises(InvalidRequestError, match="no task 'cifar'"):
            pick(Maximise("mnist"), Constraint("cifar", 0.5, at_least=True))
        with pytest.raises(InvalidRequestError, match="no task 'cifar'"):
            pick(Maximise("cifar"))

    def test_a_bound_that_is_not_finite_is_refused(self) -> None:
        with pytest.raises(InvalidRequestError):
            pick(Maximise("mnist"), Constraint("loss", float("nan"), at_least=False))


class TestReachAndKnee:
    def test_a_reachable_target_is_reached_or_passed(self) -> None:
        chosen = scores(pick(Reach(vector(0.6, 0.6, 1.2), SCALES)))
        assert chosen["mnist"] >= 0.6 and chosen["landsat"] >= 0.6 and chosen["loss"] <= 1.2

    def test_a_target_out_of_reach_is_missed_evenly(self) -> None:
        chosen = scores(pick(Reach(vector(0.99, 0.99, 2.2), SCALES)))
        assert chosen["mnist"] == pytest.approx(chosen["landsat"], abs=1e-3)
        assert chosen["mnist"] < 0.99

    def test_the_knee_has_the_largest_sum_of_normalised_scores(self) -> None:
        points = torch.rand(5000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        measured = torch.stack([fit.predict(points).smoothed for fit in FITS.values()], 1)
        chosen = vector(*scores(pick(Knee(SCALES))).values())
        total, random = (((reached - SCALES.nadir) / (SCALES.ideal - SCALES.nadir)).sum(-1) for reached in (chosen, measured))
        assert float(total) >= float(random.max()) - 1e-6

    def test_scales_are_held_to_sense(self) -> None:
        with pytest.raises(InvalidRequestError, match="equal"):
            Normalisation(vector(1.0), vector(1.0))
        with pytest.raises(InvalidRequestError, match="finite"):
            Normalisation(vector(1.0), vector(float("nan")))
        with pytest.raises(InvalidRequestError, match="worse than its nadir"):
            pick(Knee(Normalisation(SCALES.nadir, SCALES.ideal)))


def test_an_empty_box_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        choose(FITS, DIRECTIONS, Knee(SCALES), (), 1.0, 1.0, 2)
