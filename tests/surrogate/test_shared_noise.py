"""Noise of proportions scored on shared examples: binomial in shape, a learnt share in size."""

import torch
from gpytorch.distributions import MultivariateNormal
from linear_operator.operators import ZeroLinearOperator

from surrogate.shared_noise import SHARE_RANGE, shared_examples_likelihood

VARIANCES = torch.tensor([0.1, 0.2, 0.4], dtype=torch.float64)


def standard_normal(size: int) -> MultivariateNormal:
    return MultivariateNormal(torch.zeros(size, dtype=torch.float64), torch.eye(size, dtype=torch.float64))


class TestSharedExamplesNoise:
    def test_trials_keep_the_shape_of_their_variances(self) -> None:
        likelihood = shared_examples_likelihood(VARIANCES)
        points = torch.zeros(3, 2, dtype=torch.float64)
        noisy = likelihood(standard_normal(3), points).variance.detach() - 1
        torch.testing.assert_close(noisy / noisy[0], VARIANCES / VARIANCES[0])
        torch.testing.assert_close(noisy, likelihood.noise.detach())

    def test_the_share_stays_within_its_range(self) -> None:
        likelihood = shared_examples_likelihood(VARIANCES)
        for raw in (-5.0, 0.0, 5.0):
            likelihood.noise_covar.raw_share.data.fill_(raw)
            assert SHARE_RANGE[0] <= float(likelihood.noise_covar.share.detach()) <= SHARE_RANGE[1]

    def test_new_points_get_the_share_of_the_variances_given(self) -> None:
        noise = shared_examples_likelihood(VARIANCES).noise_covar
        given = torch.tensor([0.3, 0.6], dtype=torch.float64)
        torch.testing.assert_close(noise(noise=given).diagonal().detach(), given * noise.share.detach())

    def test_other_points_get_none(self) -> None:
        noise = shared_examples_likelihood(VARIANCES).noise_covar
        assert isinstance(noise(torch.zeros(5, 2, dtype=torch.float64)), ZeroLinearOperator)

    def test_the_share_is_learnt(self) -> None:
        noise = shared_examples_likelihood(VARIANCES).noise_covar
        noise.share.sum().backward()
        assert float(noise.raw_share.grad) > 0.0
