"""Noisy expected hypervolume improvement by BoTorch, on the joint posterior of Gaussian processes of scores."""

from collections.abc import Callable, Sequence

import torch
from botorch.acquisition import AcquisitionFunction, GenericMCObjective, qLogNoisyExpectedImprovement
from botorch.acquisition.multi_objective import logei, qLogNoisyExpectedHypervolumeImprovement
from botorch.acquisition.multi_objective.objective import GenericMCMultiOutputObjective
from botorch.models import ModelListGP
from botorch.optim import optimize_acqf
from botorch.sampling import SobolQMCNormalSampler
from botorch.utils.sampling import manual_seed
from torch import Tensor

from surrogate.acquisition_processes import process_of, utility_of
from surrogate.figures import preference_weights, reference_point
from surrogate.gp import GaussianProcess, numerical_noise_ignored
from surrogate.history import FittedSurrogate, History
from surrogate.pareto import non_dominated
from surrogate.scalarise import Range, chebyshev

# Hypervolume cells multiply with every objective: beyond this many one random preference a point takes their place.
MOST_TASKS = 4
SAMPLES, RESTARTS, RAW, STEPS = 32, 2, 48, 25

Objective = Callable[[Tensor, Tensor | None], Tensor]

# At its first use BoTorch compiles a kernel in C++: a minute where there is a compiler, a warning where there is none. It has the same
# in Python, and trials cost more than either.
logei._load_attempted = True


def propose_by_improvement(
    histories: Sequence[History],
    fits: Sequence[FittedSurrogate],
    pending: Tensor,
    q: int,
    low: float,
    high: float,
    seed: int,
    gram: Tensor | None,
) -> Tensor:
    """`q` points, q x D, chosen one after the other: qLogNEHVI (Daulton et al. 2021, Ament et al. 2023) with `pending` as X_pending.

    Of one task, and beyond MOST_TASKS of them, qLogNEI of augmented Chebyshev scalarisations, a random preference a point (qNParEGO,
    Daulton et al. 2020). Fits that are no Gaussian process of scores are replaced by one.
    """
    processes = [process_of(fit, history, gram, seed) for fit, history in zip(fits, histories, strict=True)]
    utilities = torch.stack([history.scores if history.scale.maximize else -history.scores for history in histories], 1)
    measured, model = histories[0].coefficients, ModelListGP(*(process.model for process in processes))
    bounds = torch.tensor([[low], [high]], dtype=torch.float64).expand(2, measured.shape[1]).contiguous()
    weights = preference_weights(len(processes), q, seed)
    found = pending
    with manual_seed(seed), numerical_noise_ignored():
        for weight in weights:
            waiting = found if len(found) else None
            if 1 < len(processes) <= MOST_TASKS:
                value = _volume_gain(model, processes, utilities, measured, waiting, seed)
            else:
                value = _preference_gain(model, processes, utilities, weight, measured, waiting, seed)
            best, _ = optimize_acqf(value, bounds, 1, RESTARTS, RAW, options={"maxiter": STEPS}, retry_on_optimization_warning=False)
            found = torch.cat([found, best.detach()])
    return found[len(pending) :]


def _volume_gain(
    model: ModelListGP, processes: Sequence[GaussianProcess], utilities: Tensor, measured: Tensor, waiting: Tensor | None, seed: int
) -> AcquisitionFunction:
    return qLogNoisyExpectedHypervolumeImprovement(
        model,
        ref_point=reference_point(utilities[non_dominated(utilities)]),
        X_baseline=measured,
        sampler=_sampler(seed),
        objective=GenericMCMultiOutputObjective(_utilities_of(processes)),
        X_pending=waiting,
        prune_baseline=True,
        cache_root=False,
    )


def _preference_gain(
    model: ModelListGP,
    processes: Sequence[GaussianProcess],
    utilities: Tensor,
    weight: Tensor,
    measured: Tensor,
    waiting: Tensor | None,
    seed: int,
) -> AcquisitionFunction:
    best = utilities.amax(0)
    extent = Range(best, (best - utilities[non_dominated(utilities)].amin(0)).clamp_min(1e-9))
    turn = _utilities_of(processes)
    return qLogNoisyExpectedImprovement(
        model,
        X_baseline=measured,
        sampler=_sampler(seed),
        objective=GenericMCObjective(lambda samples, X=None: -chebyshev(extent.shortfall(turn(samples, X)), weight)),
        X_pending=waiting,
        cache_root=False,
    )


def _utilities_of(processes: Sequence[GaussianProcess]) -> Objective:
    def turn(samples: Tensor, X: Tensor | None = None) -> Tensor:
        return torch.stack([utility_of(process, samples[..., task]) for task, process in enumerate(processes)], -1)

    return turn


def _sampler(seed: int) -> SobolQMCNormalSampler:
    return SobolQMCNormalSampler(torch.Size([SAMPLES]), seed=seed)
