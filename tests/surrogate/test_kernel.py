"""The kernel: it is a covariance, and its prior knows the lengths of the task vectors."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from surrogate.errors import InvalidRequestError
from surrogate.kernel import Kernel, prior_from_gram


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def correlated(dimension: int, seed: int) -> Tensor:
    vectors = normal(dimension, 3 * dimension, seed=seed)
    return vectors @ vectors.T


class TestCovariance:
    @given(st.integers(1, 6), st.integers(0, 1000))
    def test_gram_matrices_are_symmetric_and_positive(self, dimension: int, seed: int) -> None:
        prior = prior_from_gram(dimension, correlated(dimension, seed))
        kernel = Kernel.from_logs(prior.center + 0.5 * normal(2 * dimension + 2, seed=seed), prior.correlation)
        points = torch.rand(9, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        gram = kernel.between(points, points)
        torch.testing.assert_close(gram, gram.T)
        assert float(torch.linalg.eigvalsh(gram).min()) > -1e-9
        torch.testing.assert_close(gram.diagonal(), kernel.at(points))

    def test_task_vectors_that_are_equal_count_as_one(self) -> None:
        prior = prior_from_gram(2, torch.ones(2, 2, dtype=torch.float64))
        kernel = Kernel.from_logs(prior.center, prior.correlation)
        shifted = kernel._squared_distance(torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[0.0, 1.0]]).double())
        assert float(shifted) == pytest.approx(0.0, abs=1e-12)


class TestGradient:
    def test_points_that_meet_have_a_finite_slope(self) -> None:
        kernel = Kernel.from_logs(torch.zeros(6, dtype=torch.float64), torch.eye(2, dtype=torch.float64))
        point = torch.full((1, 2), 0.3, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(kernel.between(point, point.detach()).sum(), point)
        assert bool(torch.isfinite(slope).all())


class TestPrior:
    def test_longer_task_vectors_have_shorter_length_scales(self) -> None:
        prior = prior_from_gram(2, torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64)))
        ratio = (prior.center[1] - prior.center[0]).exp()
        assert float(ratio) == pytest.approx(2.0)

    def test_a_common_scale_costs_less_than_scattered_ones(self) -> None:
        prior = prior_from_gram(3, None)
        shift = torch.zeros(8, dtype=torch.float64)
        shift[:3] = 1.0
        scatter = torch.zeros(8, dtype=torch.float64)
        scatter[:3] = torch.tensor([2.0**0.5, -(2.0**-0.5), -(2.0**-0.5)])
        losses = [prior.loss((prior.center + away).numpy())[0] for away in (shift, scatter)]
        assert losses[0] < losses[1]

    def test_a_gram_matrix_of_another_size_is_refused(self) -> None:
        with pytest.raises(InvalidRequestError, match="3 x 3"):
            prior_from_gram(3, torch.eye(2))

    def test_without_task_vectors_all_lengths_are_one(self) -> None:
        assert prior_from_gram(3, torch.zeros(3, 3)).center[:6].eq(0.0).all()
        assert prior_from_gram(3, None).center[:6].eq(0.0).all()
