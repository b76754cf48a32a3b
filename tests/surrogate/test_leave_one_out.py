"""The compiled objective: its loss and its gradient are those of the formula, written with a tensor library and differentiated by it."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from surrogate.design import sobol_points
from surrogate.kernel import Kernel, prior_from_gram
from surrogate.leave_one_out import EFFECTIVE_COLUMNS, JITTER, evaluate


def density(logs: Tensor, points: Tensor, correlation: Tensor, moments: Tensor) -> Tensor:
    """Negative log density of every trial given the others, the amplitude at its best."""
    kernel = Kernel.from_logs(logs, correlation)
    gram = kernel.between(points, points)
    # the jitter is a constant of the numerics: the gradient leaves it out
    jitter = JITTER * gram.diagonal().mean().detach()
    inverse = torch.linalg.inv(gram + (kernel.noise + jitter) * torch.eye(len(points), dtype=torch.float64))
    column = inverse.sum(0)
    residual = inverse - torch.outer(column, column) / column.sum()
    precision = residual.diagonal()
    errors = (residual @ moments @ residual).diagonal() / precision
    return 0.5 * EFFECTIVE_COLUMNS * (len(points) * errors.mean().log() - precision.log().sum())


def measured(points: Tensor, seed: int) -> Tensor:
    """Moments of 40 smooth columns."""
    draw = torch.Generator().manual_seed(seed)
    columns = torch.tanh(1.5 * points @ torch.randn(points.shape[1], 40, generator=draw, dtype=torch.float64))
    columns = columns - columns.mean(0)
    return columns @ columns.T / 40


@settings(max_examples=40)
@given(st.integers(4, 40), st.integers(1, 9), st.integers(0, 1000))
def test_loss_and_gradient_are_those_of_the_formula(trials: int, dimension: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    vectors = torch.randn(dimension, 3 * dimension, generator=draw, dtype=torch.float64)
    prior = prior_from_gram(dimension, vectors @ vectors.T)
    points = sobol_points(dimension, trials, seed)
    moments = measured(points, seed)
    logs = (prior.center + 0.3 * torch.randn(2 * dimension + 2, generator=draw, dtype=torch.float64)).requires_grad_()
    expected = density(logs, points, prior.correlation, moments)
    (slopes,) = torch.autograd.grad(expected, logs)
    found = np.empty(2 * dimension + 2)
    loss = evaluate(logs.detach().numpy(), points.numpy(), prior.correlation.numpy(), moments.numpy(), found)
    assert math.isclose(loss, float(expected.detach()), rel_tol=1e-7, abs_tol=1e-6)
    torch.testing.assert_close(torch.from_numpy(found), slopes, atol=1e-5 * float(slopes.abs().max()), rtol=1e-5)


def test_a_gram_matrix_that_is_not_positive_has_no_density() -> None:
    points, nothing = np.zeros((4, 2)), np.full(6, math.nan)
    assert evaluate(nothing, points, np.eye(2), np.eye(4), np.empty(6)) == math.inf
