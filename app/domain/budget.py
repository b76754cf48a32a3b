"""How many trials a surrogate needs before it can be fitted at all."""

from app.domain.study import MethodSpec


def least_budget(method: MethodSpec, dimension: int) -> int:
    """The smallest budget for `dimension` coefficients.

    A quadratic has (D+1)(D+2)/2 free parameters (MAP, arXiv 2406.07529) unless a ridge bridges what the trials leave open;
    every other surrogate needs one trial more than there are directions and the origin.
    """
    if method.surrogate == "quadratic" and method.ridge == 0:
        return (dimension + 1) * (dimension + 2) // 2
    return dimension + 2
