"""The front as MAP finds it: NSGA-III (Deb & Jain 2014) by pymoo, kept inside the sampled box."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surrogate.history import FittedSurrogate
from surrogate.landscape import scored_landscape

GENERATIONS = 150


def evolve_front(fits: Sequence[FittedSurrogate], low: float, high: float, dimension: int, points: int, seed: int) -> Tensor:
    """The last population, `points` x D, after 150 generations of `points` individuals."""
    # pymoo takes a second to load, and only this solver needs it
    from pymoo.algorithms.moo.nsga3 import NSGA3
    from pymoo.core.problem import Problem
    from pymoo.optimize import minimize
    from pymoo.util.ref_dirs import get_reference_directions

    landscape = scored_landscape(fits)

    class Surrogates(Problem):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(n_var=dimension, n_obj=len(fits), xl=low, xu=high)

        def _evaluate(self, x: NDArray[np.float64], out: dict[str, NDArray[np.float64]]) -> None:
            out["F"] = -landscape.heights(torch.from_numpy(x)).numpy()

    directions = get_reference_directions("energy", len(fits), points, seed=seed)
    algorithm = NSGA3(directions, pop_size=points)
    result = minimize(Surrogates(), algorithm, ("n_gen", GENERATIONS), seed=seed)
    return torch.from_numpy(np.asarray(result.pop.get("X"), dtype=np.float64))
