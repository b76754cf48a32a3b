"""The quadratic surrogate: exact where the truth is quadratic, honest where it is not, typed errors where it cannot know."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from surrogate.design import initial_design
from surrogate.errors import InvalidRequestError, UnidentifiedError
from surrogate.figures import r_squared
from surrogate.history import History, Scale
from surrogate.least_squares import fit_linear
from surrogate.links import link_for
from surrogate.quadratic import fit_quadratic, free_parameters, quadratic_features

FREE = Scale(None, None)
LOSS = Scale(0.0, None, maximize=False)


def random_quadratic(dimension: int, seed: int) -> tuple[Tensor, Tensor, float]:
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(dimension, dimension, generator=generator, dtype=torch.float64)
    return A + A.T, torch.randn(dimension, generator=generator, dtype=torch.float64), 0.3


def values(A: Tensor, b: Tensor, e: float, points: Tensor) -> Tensor:
    return e + points @ b + 0.5 * torch.einsum("ni,ij,nj->n", points, A, points)


def accuracy_history(trials: int, seed: int, examples: int = 200, dimension: int = 3, bent: float = 0.0) -> tuple[History, Tensor]:
    """Binomial accuracies of a logistic quadratic (`bent` adds what no quadratic has), and the true accuracies of the same points."""
    A, b, e = random_quadratic(dimension, seed)
    points = initial_design(dimension, 1, trials, seed, 0.0, 1.0)
    truth = torch.sigmoid(values(A, b, e, points) + bent * torch.sin(6.0 * points).sum(1))
    right = torch.binomial(torch.full_like(truth, examples), truth, generator=torch.Generator().manual_seed(seed))
    return History(points, right / examples, Scale(0.0, 1.0, examples=examples, proportion=True)), truth


class TestRecovery:
    @given(st.integers(1, 6), st.integers(0, 1000))
    def test_a_quadratic_is_recovered_exactly(self, dimension: int, seed: int) -> None:
        A, b, e = random_quadratic(dimension, seed)
        points = initial_design(dimension, 1, free_parameters(dimension) + 3, seed, 0.0, 1.0)
        fit = fit_quadratic(History(points, values(A, b, e, points), FREE))
        torch.testing.assert_close(fit.A, A, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(fit.b, b, atol=1e-6, rtol=1e-6)
        assert fit.e == pytest.approx(e, abs=1e-6)
        assert fit.diagnostics.r2 == pytest.approx(1.0)
        assert fit.diagnostics.loo_r2 == pytest.approx(1.0)

    def test_it_is_recovered_through_a_link(self) -> None:
        A, b, e = random_quadratic(3, 5)
        points = initial_design(3, 1, 25, 5, 0.0, 1.0)
        fit = fit_quadratic(History(points, torch.sigmoid(values(A, b, e, points)), Scale(0.0, 1.0, examples=10**9)))
        torch.testing.assert_close(fit.A, A, atol=1e-6, rtol=1e-6)

    def test_groups_add_coefficients(self) -> None:
        A, b, e = random_quadratic(6, 1)
        points = initial_design(2, 3, 40, 1, 0.0, 1.0)
        fit = fit_quadratic(History(points, values(A, b, e, points), FREE))
        torch.testing.assert_close(fit.A, A, atol=1e-6, rtol=1e-6)

    def test_features_times_parameters_are_the_quadratic(self) -> None:
        A, b, _ = random_quadratic(3, 2)
        points = initial_design(3, 1, 9, 0, 0.0, 1.0)
        parameters = torch.stack([*b, *A.diagonal(), A[0, 1], A[0, 2], A[1, 2]])
        torch.testing.assert_close(quadratic_features(points) @ parameters, values(A, b, 0.0, points))


class TestIdentifiability:
    def test_too_few_trials_say_how_many_are_needed(self) -> None:
        points = initial_design(4, 1, 14, 0, 0.0, 1.0)
        with pytest.raises(UnidentifiedError, match="15 trials") as caught:
            fit_quadratic(History(points, points.sum(1), FREE))
        assert (caught.value.needed, caught.value.got) == (15, 14)

    def test_two_levels_do_not_identify_squares(self) -> None:
        lattice = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 4)
        with pytest.raises(UnidentifiedError) as caught:
            fit_quadratic(History(lattice, lattice.sum(1), FREE))
        assert caught.value.needed == 16 + 4

    def test_a_ridge_fits_fewer_trials(self) -> None:
        points = initial_design(4, 1, 10, 0, 0.0, 1.0)
        fit = fit_quadratic(History(points, points.sum(1), FREE), ridge=0.1)
        assert fit.diagnostics.r2 > 0.9
        elsewhere = torch.rand(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        assert r_squared(elsewhere.sum(1), fit.predict(elsewhere).mean) > 0.8

    @pytest.mark.parametrize("ridge", [-1.0, math.inf, math.nan])
    def test_a_senseless_ridge_is_refused(self, ridge: float) -> None:
        history, _ = accuracy_history(30, 0)
        with pytest.raises(InvalidRequestError):
            fit_quadratic(history, ridge=ridge)

    def test_as_many_trials_as_parameters_fit_but_promise_nothing(self) -> None:
        history, _ = accuracy_history(free_parameters(3), 0)
        fit = fit_quadratic(history)
        assert fit.diagnostics.loo_r2 < 0.5
        assert all(math.isfinite(score) for score in fit.diagnostics.loo_scores)
        interval = fit.predict(history.coefficients)
        assert bool((interval.high - interval.low > 0.5).all())


class TestDiagnostics:
    @given(st.integers(0, 1000))
    def test_the_hat_matrix_gives_the_brute_force_leave_one_out(self, seed: int) -> None:
        history, _ = accuracy_history(16, seed)
        scale, kept = history.scale, torch.arange(16)
        expected = [
            fit_quadratic(History(history.coefficients[kept != k], history.scores[kept != k], scale))
            .predict(history.coefficients[k : k + 1])
            .mean.item()
            for k in range(16)
        ]
        assert fit_quadratic(history).diagnostics.loo_scores == pytest.approx(expected, abs=1e-6)

    def test_leverages_with_a_ridge_are_the_hat_diagonal(self) -> None:
        history, _ = accuracy_history(16, 3)
        features, weights = quadratic_features(history.coefficients), torch.linspace(0.5, 1.5, 16, dtype=torch.float64)
        fit = fit_linear(features, history.scores, weights, 0.3)
        share = weights / weights.sum()
        centred = features - share @ features
        standard = centred / (share @ centred.square()).sqrt()
        inverse = torch.linalg.inv(standard.T @ (weights[:, None] * standard) + 0.3 * torch.eye(9, dtype=torch.float64))
        hat = standard @ inverse @ (standard * weights[:, None]).T + share
        torch.testing.assert_close(fit.leverages, hat.diagonal())
        torch.testing.assert_close(fit.fitted, hat @ history.scores)
        torch.testing.assert_close(fit.variance(features), (standard @ inverse * standard).sum(1) + 1 / 16)

    def test_scores_that_are_all_equal_are_explained(self) -> None:
        points = initial_design(2, 1, 12, 0, 0.0, 1.0)
        fit = fit_quadratic(History(points, torch.full((12,), 0.5, dtype=torch.float64), FREE))
        assert (fit.diagnostics.r2, fit.diagnostics.loo_rmse) == (pytest.approx(1.0), pytest.approx(0.0))

    def test_details_say_rank_condition_and_link(self) -> None:
        history, _ = accuracy_history(40, 0)
        details = fit_quadratic(history).diagnostics.details
        assert (details["rank"], details["free_parameters"], details["link"]) == (10, 10, "logit")
        assert isinstance(details["condition"], float) and 1.0 <= details["condition"] < 1e4


class TestPrediction:
    @pytest.mark.parametrize(("trials", "examples"), [(14, 400), (25, 100), (60, 400), (60, 50)])
    def test_intervals_cover_new_measurements_of_a_quadratic_truth(self, trials: int, examples: int) -> None:
        assert 0.90 <= self._coverage(trials, examples, bent=0.0) <= 0.98

    @pytest.mark.parametrize(("trials", "examples"), [(25, 400), (60, 400), (120, 1000)])
    def test_intervals_cover_new_measurements_where_the_truth_bends_otherwise(self, trials: int, examples: int) -> None:
        assert 0.90 <= self._coverage(trials, examples, bent=0.15) <= 0.98

    @staticmethod
    def _coverage(trials: int, examples: int, bent: float) -> float:
        covered, count = 0, 0
        for seed in range(40):
            history, _ = accuracy_history(trials + 60, seed, examples, bent=bent)
            seen = History(history.coefficients[:trials], history.scores[:trials], history.scale)
            interval = fit_quadratic(seen).predict(history.coefficients[trials:])
            scores = history.scores[trials:]
            covered += int(((interval.low <= scores) & (scores <= interval.high)).sum())
            count += len(scores)
        return covered / count

    def test_intervals_stay_inside_the_bounds_and_around_the_mean(self) -> None:
        history, _ = accuracy_history(15, 0)
        interval = fit_quadratic(history).predict(3.0 * torch.rand(200, 3, dtype=torch.float64))
        assert bool(((interval.low >= 0) & (interval.low <= interval.mean) & (interval.mean <= interval.high)).all())
        assert bool((interval.high <= 1).all())

    def test_predictions_widen_away_from_the_trials(self) -> None:
        points = initial_design(2, 1, 20, 0, 0.0, 1.0)
        noise = 0.1 * torch.randn(20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        fit = fit_quadratic(History(points, points.sum(1) + noise, FREE))
        inside, outside = fit.predict(torch.tensor([[0.5, 0.5], [3.0, 3.0]], dtype=torch.float64)).high
        middle, far = torch.tensor(1.0), torch.tensor(6.0)
        assert float(outside - far) > 3 * float(inside - middle)

    def test_utility_turns_losses_round_and_is_differentiable(self) -> None:
        points = initial_design(2, 1, 12, 0, 0.0, 1.0)
        fit = fit_quadratic(History(points, 1.0 + points.sum(1), LOSS))
        leaf = points.clone().requires_grad_()
        utility = fit.utility(leaf)
        torch.testing.assert_close(utility, -fit.predict(points).mean)
        (slope,) = torch.autograd.grad(utility.sum(), leaf)
        assert bool((slope < 0).all())

    def test_weights_keep_saturated_trials_from_dragging_the_fit(self) -> None:
        weighted, unweighted = 0.0, 0.0
        for seed in range(20):
            history, truth = accuracy_history(40, seed, examples=30)
            features, link = quadratic_features(history.coefficients), link_for(history.scale, history.scores)
            plain = fit_linear(features, link.forward(history.scores), torch.ones(40, dtype=torch.float64))
            weighted += float((fit_quadratic(history).predict(history.coefficients).mean - truth).square().mean())
            unweighted += float((link.inverse(plain.fitted) - truth).square().mean())
        assert weighted < unweighted
