"""Which surrogate a task gets: the one named, or the one that predicts its trials best from the others."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from surrogate.errors import FitFailedError, UnidentifiedError
from surrogate.history import FittedSurrogate, History
from surrogate.links import LinkName

if TYPE_CHECKING:
    from surrogate.gp import GaussianProcess
    from surrogate.output_space import OutputSpace, Refusal
    from surrogate.quadratic import Quadratic

# By how many standard errors another surrogate's squared leave-one-out errors have to be smaller before outputs give way. Among few
# trials a quadratic with a parameter for nearly every one of them looks best now and then; wherever it did, it was not (docs/figures.md).
CLEARLY = 2.0

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
    """The surrogate `name` of one task's trials; `auto` takes, of those that can be fitted, the one of least leave-one-out error,
    the output-space one unless another is better by CLEARLY standard errors.

    `gram`: D x D, inner products of the task vectors. Where the trials carry no outputs, `output` gives a `gp`. The diagnostics'
    details say in words what was taken and why (`choice`), and the leave-one-out errors of all that were fitted (`loo_rmse`).
    `auto` fits the slow `gp` only where there are no outputs or the quadratic beats them. Raises UnidentifiedError for too few
    trials, FitFailedError when the numerics fail, InvalidRequestError when `gram` does not fit.
    """
    return fit_surrogates(name, [history], gram, seed, quadratic)[0]


def fit_surrogates(
    name: SurrogateName,
    histories: Sequence[History],
    gram: Tensor | None = None,
    seed: int = 0,
    quadratic: QuadraticOptions = QuadraticOptions(),
) -> list[FittedSurrogate]:
    """Those of several tasks, as `fit_surrogate` gives each of them, in less time."""
    spaces = _fit_spaces(name, histories, gram, seed)
    contests = [_Contest(history, gram, seed, quadratic, space) for history, space in zip(histories, spaces, strict=True)]
    return [_fit_task(name, contest) for contest in contests]


def _fit_spaces(name: SurrogateName, histories: Sequence[History], gram: Tensor | None, seed: int) -> "list[OutputSpace | Refusal | None]":
    """The output-space surrogates of all tasks at once, where they are wanted and there are outputs; else None."""
    able = [task for task, history in enumerate(histories) if history.outputs is not None and name in ("output", "auto")]
    if not able:
        return [None] * len(histories)
    from surrogate.output_space import fit_output_spaces

    found = dict(zip(able, fit_output_spaces([histories[task] for task in able], gram, seed), strict=True))
    return [found.get(task) for task in range(len(histories))]


def _fit_task(name: SurrogateName, contest: "_Contest") -> FittedSurrogate:
    if name == "auto":
        return _best(contest)
    if name == "output" and contest.space is None:
        return _explained(contest.fit("gp"), "gp in place of output: the trials carry no per-example outputs", {})
    return _explained(contest.fit(name), f"{name}: asked for", {})


@dataclass
class _Contest:
    """Fits of one task so far, and why others could not be had. `space`: the output-space surrogate, fitted with those of other tasks."""

    history: History
    gram: Tensor | None
    seed: int
    quadratic: QuadraticOptions
    space: "OutputSpace | Refusal | None"
    fits: "dict[Family, Quadratic | GaussianProcess | OutputSpace]" = field(default_factory=dict)
    refusals: "dict[Family, UnidentifiedError | FitFailedError]" = field(default_factory=dict)

    def enter(self, family: Family) -> None:
        try:
            self.fits[family] = self.fit(family)
        except (UnidentifiedError, FitFailedError) as refusal:
            self.refusals[family] = refusal

    def fit(self, family: Family) -> "Quadratic | GaussianProcess | OutputSpace":
        # imported where they are needed: BoTorch alone takes seconds
        match family:
            case "quadratic":
                from surrogate.quadratic import fit_quadratic

                return fit_quadratic(self.history, self.quadratic.link, self.quadratic.ridge)
            case "gp":
                from surrogate.gp import fit_gp

                return fit_gp(self.history, self.gram, self.seed)
            case "output":
                assert self.space is not None  # there are outputs
                if isinstance(self.space, Exception):
                    raise self.space
                return self.space

    def errors(self) -> dict[str, float]:
        return {family: fit.diagnostics.loo_rmse for family, fit in self.fits.items()}

    def leader(self) -> Family | None:
        """The family of least error, but outputs where no other is clearly better."""
        best = self.least()
        return "output" if best is not None and "output" in self.fits and not self._is_clear(best) else best

    def least(self) -> Family | None:
        return min(self.fits, key=lambda family: self.fits[family].diagnostics.loo_rmse, default=None)

    def _is_clear(self, family: Family) -> bool:
        ahead = self._squared_errors("output") - self._squared_errors(family)
        return bool(ahead.mean() > CLEARLY * ahead.std() / len(ahead) ** 0.5)

    def _squared_errors(self, family: Family) -> Tensor:
        left_out = torch.tensor(self.fits[family].diagnostics.loo_scores, dtype=torch.float64)
        return (left_out - self.history.scores).square()


def _best(contest: _Contest) -> FittedSurrogate:
    if contest.space is not None:
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
    least = contest.least()
    if winner != least:
        told.append(f"{least} is not better by {CLEARLY:g} standard errors")
    if "gp" not in errors and "gp" not in contest.refusals:
        told.append("gp not tried: scores alone do not predict clearly better than the outputs")
    return "; ".join(told)


def _explained(
    fit: "Quadratic | GaussianProcess | OutputSpace", choice: str, errors: dict[str, float]
) -> "Quadratic | GaussianProcess | OutputSpace":
    errors = errors or {fit.diagnostics.surrogate: fit.diagnostics.loo_rmse}
    details = {**fit.diagnostics.details, "choice": choice, "loo_rmse": errors}
    return replace(fit, diagnostics=replace(fit.diagnostics, details=details))
