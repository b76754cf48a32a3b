"""How many trials a study needs, and how its method shares them out."""

from app.domain.study import MethodSpec

# With the corner that is known before, a plane then has a trial more than a process needs.
LEAST_A_PLANE = 3


def least_budget(method: MethodSpec, dimension: int) -> int:
    """The smallest budget for `dimension` coefficients.

    A quadratic has (D+1)(D+2)/2 free parameters (MAP, arXiv 2406.07529) unless a ridge bridges what the trials leave open;
    every other surrogate needs one trial more than there are directions and the origin. `nested` begins with the origin and the tuned
    models alone and needs LEAST_A_PLANE more for every plane. `exact` takes the origin and a step along every coefficient, whatever the
    budget.
    """
    if method.name == "exact":
        return dimension + 1
    if method.name == "nested":
        return dimension + 1 + LEAST_A_PLANE * planes(method, dimension)
    if method.surrogate == "quadratic" and method.ridge == 0:
        return (dimension + 1) * (dimension + 2) // 2
    return dimension + 2


def planes(method: MethodSpec, tuned: int) -> int:
    """How many pairs `nested` searches at most: those of the first level once, every other once a preference."""
    first = tuned // 2
    return first + max(1, len(method.preferences)) * (tuned - 1 - first)


def trials_a_plane(method: MethodSpec, tuned: int) -> int:
    """How many trials `nested` gives to every pair."""
    return (method.budget - tuned - 1) // planes(method, tuned)
