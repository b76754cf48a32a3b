"""Kriging as weights: they interpolate, they sum to one, and what is said in closed form is what leaving trials out gives."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from surrogate.design import sobol_points
from surrogate.errors import FitFailedError
from surrogate.kernel import Kernel, prior_from_gram
from surrogate.kriging import Kriging, fit_kriging, krige


def process(trials: int, dimension: int, seed: int, noise: float = 1e-6) -> Kriging:
    kernel = Kernel.from_logs(torch.full((2 * dimension + 2,), -0.3, dtype=torch.float64), torch.eye(dimension, dtype=torch.float64))
    quiet = Kernel(kernel.inverse_lengths, kernel.weights, kernel.polynomial, torch.tensor(noise, dtype=torch.float64), kernel.correlation)
    return krige(quiet, sobol_points(dimension, trials, seed))


def columns(points: Tensor, count: int, seed: int) -> Tensor:
    """Smooth functions of the points, K x count, far from linear."""
    generator = torch.Generator().manual_seed(seed)
    slopes = torch.randn(points.shape[1], count, generator=generator, dtype=torch.float64)
    return torch.tanh(1.5 * points @ slopes + torch.randn(count, generator=generator, dtype=torch.float64))


class TestWeights:
    @given(st.integers(3, 20), st.integers(1, 4), st.integers(0, 100))
    def test_they_sum_to_one_everywhere(self, trials: int, dimension: int, seed: int) -> None:
        fitted = process(trials, dimension, seed)
        points = 3 * sobol_points(dimension, 8, seed + 1)
        sampled = fitted.sample_weights(points, 2, np.random.default_rng(seed))
        for weights in (fitted.weights(points), fitted.loo_weights(), *sampled):
            torch.testing.assert_close(weights.sum(1), torch.ones(len(weights), dtype=torch.float64), atol=1e-6, rtol=0.0)

    def test_without_noise_trials_are_met(self) -> None:
        fitted = process(12, 2, 0, noise=1e-10)
        torch.testing.assert_close(fitted.weights(fitted.points), torch.eye(12, dtype=torch.float64), atol=1e-3, rtol=0.0)

    def test_variance_grows_away_from_the_trials(self) -> None:
        fitted = process(12, 2, 0)
        near, far = fitted.variance(fitted.points), fitted.variance(fitted.points + 3.0)
        assert float(near.max()) < 1e-3 < float(far.min())


class TestLeaveOneOut:
    @given(st.integers(4, 12), st.integers(0, 100))
    def test_it_is_the_process_without_the_trial(self, trials: int, seed: int) -> None:
        fitted = process(trials, 2, seed, noise=1e-3)
        values = columns(fitted.points, 5, seed)
        left_out = fitted.loo_weights() @ values
        for trial in range(trials):
            others = torch.arange(trials) != trial
            rest = krige(fitted.kernel, fitted.points[others])
            point = fitted.points[trial : trial + 1]
            torch.testing.assert_close(rest.weights(point) @ values[others], left_out[trial : trial + 1], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(rest.variance(point), fitted.loo_variance()[trial : trial + 1], atol=1e-4, rtol=1e-4)


class TestFit:
    def test_it_finds_which_coordinates_matter(self) -> None:
        points = sobol_points(3, 30, 0)
        values = columns(torch.cat([points[:, :1], torch.zeros(30, 2)], 1), 40, 0)
        fitted = fit_kriging(points, values @ values.T / 40, prior_from_gram(3, None))
        lengths = 1 / fitted.kernel.inverse_lengths
        assert float(lengths[0]) < 0.5 * float(lengths[1:].min())

    def test_it_predicts_better_than_the_prior_does(self) -> None:
        points, new = sobol_points(2, 20, 0), sobol_points(2, 64, 1)
        generator = torch.Generator().manual_seed(0)
        slopes = torch.randn(2, 40, generator=generator, dtype=torch.float64) * torch.tensor([[4.0], [0.3]])
        values, truth = torch.sin(points @ slopes), torch.sin(new @ slopes)
        prior = prior_from_gram(2, None)
        fitted = fit_kriging(points, values @ values.T / 40, prior)
        start = krige(Kernel.from_logs(prior.center, prior.correlation), points)
        errors = [float((each.weights(new) @ values - truth).square().mean()) for each in (fitted, start)]
        assert errors[0] < 0.5 * errors[1]

    def test_it_is_deterministic(self) -> None:
        points = sobol_points(2, 10, 0)
        values = columns(points, 20, 0)
        fits = [fit_kriging(points, values @ values.T, prior_from_gram(2, None)) for _ in range(2)]
        assert torch.equal(fits[0].residual, fits[1].residual)

    def test_columns_that_never_change_are_fitted_too(self) -> None:
        fitted = fit_kriging(sobol_points(2, 6, 0), torch.zeros(6, 6, dtype=torch.float64), prior_from_gram(2, None))
        assert bool(torch.isfinite(fitted.residual).all())

    def test_a_gram_matrix_that_is_not_positive_is_refused_by_name(self) -> None:
        kernel = process(4, 2, 0).kernel
        broken = Kernel(kernel.inverse_lengths, kernel.weights, torch.tensor(-5.0).double(), kernel.noise, kernel.correlation)
        with pytest.raises(FitFailedError, match="not positive definite"):
            krige(broken, sobol_points(2, 4, 0))


class TestSamples:
    def test_their_spread_is_the_posterior_deviation(self) -> None:
        fitted = process(30, 1, 0, noise=1e-8)
        point = torch.tensor([[1.6]], dtype=torch.float64)
        # columns drawn from the process itself, so that their covariance is one
        covariance = torch.linalg.inv(fitted.inverse)
        drawn = torch.linalg.cholesky(covariance) @ torch.randn(30, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        samples = fitted.sample_weights(point, 400, np.random.default_rng(1)) @ drawn
        spread = float(samples.var(0).mean())
        assert spread == pytest.approx(float(fitted.variance(point)), rel=0.25)

    def test_points_that_are_close_move_together(self) -> None:
        fitted = process(8, 1, 0)
        points = torch.tensor([[2.0], [2.02]], dtype=torch.float64)
        values = columns(fitted.points, 1, 0)
        samples = (fitted.sample_weights(points, 200, np.random.default_rng(0)) @ values)[..., 0]
        assert float(torch.corrcoef(samples.T)[0, 1]) > 0.99
        assert not math.isclose(float(samples.std(0)[0]), 0.0)
