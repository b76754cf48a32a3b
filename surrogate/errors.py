"""Errors of the numerics, one tree:

SurrogateError
├── InvalidHistoryError      surrogate.history        trials that cannot be fitted to: shapes, non-finite values, bounds
├── InvalidRequestError      surrogate.request        what is asked for does not fit: a link, a box, a preference, a constraint
├── UnidentifiedError        surrogate.unidentified   too few trials for the fit; says how many it needs
├── FitFailedError           surrogate.fit_failed     the numerics did not converge
└── InfeasibleError          surrogate.infeasible     no coefficients of the box satisfy the constraints
"""


class SurrogateError(Exception):
    """Root of the tree; `code` is stable."""

    code = "surrogate.error"


class InvalidHistoryError(SurrogateError):
    code = "surrogate.history"


class InvalidRequestError(SurrogateError):
    code = "surrogate.request"


class UnidentifiedError(SurrogateError):
    """Too few trials: `needed` is the number that would do, `got` the number there is."""

    code = "surrogate.unidentified"

    def __init__(self, message: str, needed: int, got: int) -> None:
        super().__init__(message)
        self.needed = needed
        self.got = got


class FitFailedError(SurrogateError):
    code = "surrogate.fit_failed"


class InfeasibleError(SurrogateError):
    """Constraints that cannot be met together: `reachable` is the best score of each when no other constraint stands."""

    code = "surrogate.infeasible"

    def __init__(self, message: str, reachable: tuple[float, ...]) -> None:
        super().__init__(message)
        self.reachable = reachable
