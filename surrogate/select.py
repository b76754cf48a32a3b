"""Which surrogate a task gets: the one named, or the one that predicts its trials best from the others."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from surrogate.errors import FitFailedError, UnidentifiedError
from surrogate.history import FittedSurrogate, History
from surrogate.links import LinkName

if TYPE_CHECKING:
    from surrogate.gp import GaussianProcess
    from surrogate.output_space import OutputSpace
    from surrogate.quadratic import Quadratic

Family = Literal["quadratic", "gp", "output"]
SurrogateName = Literal["quadratic", "gp", "output", "auto"]


@dataclass(frozen=True)
class QuadraticOptions:
    """How a quadratic is fitted, where one is: see surrogate.quadratic."""

    link: LinkName | Literal["auto"] = "auto"
    ridge: float = 0.0


def fit_surrogate(
    name: SurrogateName, history: History, gram: Tensor | None = None, seed: int = 0, quadratic: QuadraticOptions = QuadraticOptions()
) -> FittedSurrogate:
    """The surrogate `name` of one task's trials; `auto` takes, of those that can be fitted, the one of least leave-one-out error.

    `gram`: D x D, inner products of the task vectors. Where the trials carry no outputs, `output` gives a `gp`. The diagnostics'
    details say in words what was taken and why (`choice`), and the leave-one-out errors of all that were fitted (`loo_rmse`).
    `auto` fits the slow `gp` only where there are no outputs or the quadratic beats them. Raises UnidentifiedError for too few
    trials, FitFailedError when the numerics fail, InvalidRequestError when `gram` does not fit.
    """
    if name == "auto":
        return _best(_Contest(history, gram, seed, quadratic))
    if name == "output" and history.outputs is None:
        return _explained(_fit("gp", history, gram, seed, quadratic), "gp in place of output: the trials carry no per-example outputs", {})
    return _explained(_fit(name, history, gram, seed, quadratic), f"{name}: asked for", {})


@dataclass
class _Contest:
    """Fits of one task so far, and why others could not be had."""

    history: History
    gram: Tensor | None
    seed: int
    quadratic: QuadraticOptions
    fits: "dict[Family, Quadratic | GaussianProcess | OutputSpace]" = field(default_factory=dict)
    refusals: "dict[Family, UnidentifiedError | FitFailedError]" = field(default_factory=dict)

    def enter(self, family: Family) -> None:
        try:
            self.fits[family] = _fit(family, self.history, self.gram, self.seed, self.quadratic)
        except (UnidentifiedError, FitFailedError) as refusal:
            self.refusals[family] = refusal

    def errors(self) -> dict[str, float]:
        return {family: fit.diagnostics.loo_rmse for family, fit in self.fits.items()}

    def leader(self) -> Family | None:
        return min(self.fits, key=lambda family: self.fits[family].diagnostics.loo_rmse, default=None)


def _best(contest: _Contest) -> FittedSurrogate:
    if contest.history.outputs is not None:
        contest.enter("output")
    contest.enter("quadratic")
    if contest.leader() != "output":
        contest.enter("gp")
    winner = contest.leader()
    if winner is None:
        # the process needs the fewest trials: what it says is what would help
        raise contest.refusals["gp"]
    return _explained(contest.fits[winner], _reasons(contest, winner), contest.errors())


def _reasons(contest: _Contest, winner: Family) -> str:
    errors = contest.errors()
    others = ", ".join(f"{family} {error:.4g}" for family, error in errors.items() if family != winner)
    told = [f"{winner}: leave-one-out error {errors[winner]:.4g}" + (f", against {others}" if others else "")]
    if contest.history.outputs is None:
        told.append("output not possible: the trials carry no per-example outputs")
    told += [f"{family} not possible: {refusal}" for family, refusal in contest.refusals.items()]
    if "gp" not in errors and "gp" not in contest.refusals:
        told.append("gp not tried: the outputs already predict better than the scores")
    return "; ".join(told)


def _fit(
    family: Family, history: History, gram: Tensor | None, seed: int, options: QuadraticOptions
) -> "Quadratic | GaussianProcess | OutputSpace":
    # imported where they are needed: BoTorch alone takes seconds
    match family:
        case "quadratic":
            from surrogate.quadratic import fit_quadratic

            return fit_quadratic(history, options.link, options.ridge)
        case "gp":
            from surrogate.gp import fit_gp

            return fit_gp(history, gram, seed)
        case "output":
            from surrogate.output_space import fit_output_space

            return fit_output_space(history, gram, seed)


def _explained(
    fit: "Quadratic | GaussianProcess | OutputSpace", choice: str, errors: dict[str, float]
) -> "Quadratic | GaussianProcess | OutputSpace":
    errors = errors or {fit.diagnostics.surrogate: fit.diagnostics.loo_rmse}
    details = {**fit.diagnostics.details, "choice": choice, "loo_rmse": errors}
    return replace(fit, diagnostics=replace(fit.diagnostics, details=details))
