"""The Gaussian-process surrogate: BoTorch's SingleTaskGP on one task's linked scores."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from botorch.exceptions.errors import BotorchError, ModelFittingError
from botorch.exceptions.warnings import OptimizationWarning
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.utils.sampling import manual_seed
from gpytorch.kernels import Kernel, MaternKernel, PolynomialKernel, ScaleKernel
from gpytorch.likelihoods import Likelihood
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.priors import LogNormalPrior
from linear_operator.utils.errors import NanError, NotPSDError
from linear_operator.utils.warnings import NumericalWarning
from scipy.stats import t as student
from torch import Tensor

from surrogate.errors import FitFailedError, UnidentifiedError
from surrogate.figures import r_squared, root_mean_square
from surrogate.history import Diagnostics, History, Prediction, Scale
from surrogate.kernel import prior_from_gram
from surrogate.links import Link, link_for
from surrogate.shared_noise import SHARE_RANGE, SharedExamplesNoise, shared_examples_likelihood

FEWEST_TRIALS = 3
# Standardised variance below which noise is rounding only; it keeps the Gram matrix positive definite without jitter.
SMALLEST_NOISE = 1e-5
LENGTH_SPREAD = 0.8
# Amplitudes of the two parts and the noise, beside a length scale a coordinate.
KERNEL_AMPLITUDES = 3
# GPyTorch forms the covariance of all points of a call.
POINTS_AT_ONCE = 256


@dataclass(frozen=True)
class GaussianProcess:
    """A Gaussian process on linked scores: a FittedSurrogate. Built by `fit_gp`.

    `model`: predicts linked scores, in the metric's own sign; for BoTorch's acquisition functions.
    """

    model: SingleTaskGP = field(repr=False)
    link: Link
    scale: Scale
    diagnostics: Diagnostics
    _noise: float = field(repr=False)  # share of the binomial variance, or variance of linked scores where that is unknown
    _quantile: float = field(repr=False)  # half width of a 95 % interval in predicted deviations

    def predict(self, coefficients: Tensor) -> Prediction:
        """Scores at `coefficients`, n x D. The interval is for a measurement on the trials' own examples."""
        with torch.no_grad():
            linked, variance = self._posterior(coefficients)
            reach = self._quantile * (variance + self._sampling_variance(linked)).sqrt()
            mean = self.link.inverse(linked)
            step = self.scale.half_step()
            low, high = self.link.inverse(linked - reach) - step, self.link.inverse(linked + reach) + step
            return Prediction(mean, self.scale.within(low), self.scale.within(high), mean)

    def utility(self, coefficients: Tensor) -> Tensor:
        """The predicted score turned so that larger is better, n; differentiable in `coefficients`, n x D."""
        score = self.link.inverse(self._posterior(coefficients)[0])
        return score if self.scale.maximize else -score

    def _posterior(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        with numerical_noise_ignored():
            parts = [self.model.posterior(block) for block in torch.split(coefficients, POINTS_AT_ONCE)]
            means, variances = [part.mean[:, 0] for part in parts], [part.variance[:, 0] for part in parts]
        return torch.cat(means), torch.cat(variances)

    def _sampling_variance(self, linked: Tensor) -> Tensor:
        binomial = _binomial_variance(self.link, self.scale, linked)
        return torch.full_like(linked, self._noise) if binomial is None else self._noise * binomial


@dataclass(frozen=True)
class _OnTrials:
    """Linked scores of the K trials predicted without the trial itself and with it, and the former's errors in predicted deviations
    (Rasmussen & Williams, eq. 5.12)."""

    left_out: Tensor
    fitted: Tensor
    standardised: Tensor


def fit_gp(history: History, gram: Tensor | None = None, seed: int = 0) -> GaussianProcess:
    """The Gaussian process of one task's linked scores: constant mean, kernel polynomial of degree 2 + Matérn-5/2.

    `gram`: D x D, inner products of the task vectors, on which the prior of the length scales is centred. `seed`: of the restarts of a
    fit that fails. Noise: for proportions p(1 - p)/m on the linked scale times a learnt share, since all trials share their
    examples; else inferred. Raises UnidentifiedError below three trials, InvalidRequestError where `gram` does not fit,
    FitFailedError when the likelihood has no optimum.
    """
    trials, dimension = history.coefficients.shape
    if trials < FEWEST_TRIALS:
        raise UnidentifiedError(f"a Gaussian process needs {FEWEST_TRIALS} trials, there are {trials}", FEWEST_TRIALS, trials)
    link = link_for(history.scale, history.scores)
    linked = link.forward(history.scores)
    model = SingleTaskGP(
        history.coefficients,
        linked[:, None],
        likelihood=_likelihood(link, history.scale, linked),
        covar_module=_kernel(dimension, gram),
    )
    _maximise_likelihood(model, seed)
    on_trials = _on_trials(model, linked)
    noise = model.likelihood.noise_covar
    return GaussianProcess(
        model=model,
        link=link,
        scale=history.scale,
        diagnostics=_diagnose(history, link, on_trials, model),
        _noise=float(noise.share) if isinstance(noise, SharedExamplesNoise) else float(noise.noise) * _spread(linked) ** 2,
        _quantile=_quantile(on_trials.standardised, dimension),
    )


def _kernel(dimension: int, gram: Tensor | None) -> Kernel:
    """Length scales by task vectors as in the output-space surrogate, longer where there are more coordinates to differ in."""
    inverse_lengths = prior_from_gram(dimension, gram).center[:dimension]
    prior = LogNormalPrior(0.5 * math.log(dimension) - inverse_lengths, LENGTH_SPREAD)
    matern = MaternKernel(nu=2.5, ard_num_dims=dimension, lengthscale_prior=prior)
    matern.lengthscale = prior.mode
    return ScaleKernel(PolynomialKernel(power=2)) + ScaleKernel(matern)


def _likelihood(link: Link, scale: Scale, linked: Tensor) -> Likelihood | None:
    """The likelihood of standardised linked scores; None leaves it to BoTorch to infer one noise for all."""
    binomial = _binomial_variance(link, scale, linked)
    if binomial is None:
        return None
    return shared_examples_likelihood((binomial / _spread(linked) ** 2).clamp_min(SMALLEST_NOISE / SHARE_RANGE[0]))


def _binomial_variance(link: Link, scale: Scale, linked: Tensor) -> Tensor | None:
    """Sampling variance of linked scores by the delta method, p(1 - p) / m over the squared slope of the link; None if unknown."""
    if not scale.proportion or scale.examples is None:
        return None
    share = link.clip(link.inverse(linked))
    return share * (1 - share) / scale.examples / link.derivative(link.forward(share)).square()


def _spread(linked: Tensor) -> float:
    """By how much BoTorch's Standardize divides."""
    spread = float(linked.std())
    return spread if spread >= 1e-8 else 1.0


def _maximise_likelihood(model: SingleTaskGP, seed: int) -> None:
    try:
        with manual_seed(seed), numerical_noise_ignored():
            fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    except (BotorchError, ModelFittingError, NotPSDError, NanError) as error:
        raise FitFailedError(f"the likelihood of the Gaussian process has no optimum that could be found: {error}") from error
    model.requires_grad_(False)


@contextmanager
def numerical_noise_ignored() -> Iterator[None]:
    """BoTorch tries again after an optimiser's early stop and raises in the end; variances of measured points round to below zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizationWarning)
        warnings.simplefilter("ignore", NumericalWarning)
        yield


def _quantile(standardised: Tensor, dimension: int) -> float:
    """Student's t for the trials that the kernel's parameters leave over, widened where leave-one-out errors exceed what was predicted.

    The errors are optimistic, since all trials chose the kernel: they are scaled as a regression's residuals are.
    """
    trials = len(standardised)
    freedom = max(1, trials - dimension - KERNEL_AMPLITUDES)
    optimism = math.sqrt(trials / freedom)
    return float(student.ppf(0.975, freedom)) * max(1.0, optimism * root_mean_square(standardised))


def _diagnose(history: History, link: Link, on_trials: _OnTrials, model: SingleTaskGP) -> Diagnostics:
    left_out, fitted = link.inverse(on_trials.left_out), link.inverse(on_trials.fitted)
    matern = model.covar_module.kernels[1].base_kernel
    noise = model.likelihood.noise_covar
    known = isinstance(noise, SharedExamplesNoise)
    return Diagnostics(
        surrogate="gp",
        trials=len(left_out),
        r2=r_squared(history.scores, fitted),
        loo_r2=r_squared(history.scores, left_out),
        loo_rmse=root_mean_square(history.scores - left_out),
        loo_scores=tuple(left_out.tolist()),
        details={
            "link": link.name,
            "length_scales": matern.lengthscale.flatten().tolist(),
            "noise": "share of the binomial variance" if known else "variance of linked scores",
            "noise_size": float(noise.share) if known else float(noise.noise) * _spread(link.forward(history.scores)) ** 2,
        },
    )


def _on_trials(model: SingleTaskGP, linked: Tensor) -> _OnTrials:
    model.train()
    with torch.no_grad(), numerical_noise_ignored():
        marginal = model.likelihood(model(*model.train_inputs), *model.train_inputs)
        inverse = torch.linalg.inv(marginal.covariance_matrix)
        noise = model.likelihood.noise
    model.eval()
    standard = model.train_targets
    residual = inverse @ (standard - marginal.mean)
    left_out, fitted = standard - residual / inverse.diagonal(), standard - noise * residual
    center, spread = linked.mean(), _spread(linked)
    return _OnTrials(center + spread * left_out, center + spread * fitted, residual / inverse.diagonal().sqrt())
