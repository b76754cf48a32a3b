"""The choice of a surrogate: by leave-one-out error, told in words, cheap to import."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch

from surrogate.design import sobol_points
from surrogate.errors import UnidentifiedError
from surrogate.figures import root_mean_square
from surrogate.gp import GaussianProcess
from surrogate.history import History, Scale
from surrogate.links import LinkName
from surrogate.output_space import OutputSpace, fit_output_space
from surrogate.quadratic import Quadratic, fit_quadratic
from surrogate.select import QuadraticOptions, _Contest, fit_surrogate, fit_surrogates

FREE = Scale(None, None)


def quadratic_history(trials: int) -> History:
    points = sobol_points(2, trials, 0)
    return History(points, 1 + points[:, 0] - 2 * points[:, 0] * points[:, 1] + points[:, 1].square(), FREE)


def wave_history(trials: int) -> History:
    points = sobol_points(2, trials, 0)
    return History(points, torch.sin(6 * points[:, 0]) * torch.cos(4 * points[:, 1]), FREE)


class TestNamed:
    @pytest.mark.parametrize(("name", "kind"), [("quadratic", Quadratic), ("gp", GaussianProcess), ("output", OutputSpace)])
    def test_what_is_named_is_fitted(self, merged_digits: Any, name: Any, kind: type) -> None:
        fit = fit_surrogate(name, merged_digits.history(0, 14), merged_digits.gram)
        assert isinstance(fit, kind)
        assert fit.diagnostics.details["choice"] == f"{name}: asked for"

    def test_without_outputs_output_falls_back_to_gp_and_says_so(self) -> None:
        fit = fit_surrogate("output", wave_history(8))
        assert isinstance(fit, GaussianProcess)
        assert "no per-example outputs" in str(fit.diagnostics.details["choice"])


class TestTasks:
    def test_together_they_get_what_each_gets_alone(self, merged_digits: Any) -> None:
        histories = [merged_digits.history(0, 14), merged_digits.history(1, 14)]
        together = fit_surrogates("output", histories, merged_digits.gram)
        alone = [fit_surrogate("output", history, merged_digits.gram) for history in histories]
        new = sobol_points(3, 5, 1)
        for one, other in zip(together, alone, strict=True):
            assert one.diagnostics == other.diagnostics
            assert torch.equal(one.predict(new).smoothed, other.predict(new).smoothed)

    def test_every_task_is_fitted_as_its_own_trials_allow(self, merged_digits: Any) -> None:
        told, bare = merged_digits.history(0, 14), merged_digits.history(1, 14)
        fits = fit_surrogates("auto", [History(bare.coefficients, bare.scores, bare.scale), told], merged_digits.gram)
        assert not isinstance(fits[0], OutputSpace)
        assert isinstance(fits[1], OutputSpace)

    def test_a_task_that_cannot_be_fitted_says_why(self, merged_digits: Any) -> None:
        with pytest.raises(UnidentifiedError, match="length scales need 3 trials"):
            fit_surrogates("output", [merged_digits.history(0, 14), merged_digits.history(1, 2)], merged_digits.gram)


class TestAuto:
    def test_outputs_win_where_there_are_any(self, merged_digits: Any) -> None:
        fit = fit_surrogate("auto", merged_digits.history(0, 20), merged_digits.gram)
        assert isinstance(fit, OutputSpace)
        errors = fit.diagnostics.details["loo_rmse"]
        assert isinstance(errors, dict) and errors["output"] < errors["quadratic"]
        assert str(fit.diagnostics.details["choice"]).startswith("output: leave-one-out error")

    @pytest.mark.parametrize(("errors", "winner"), [([0.3] + 11 * [0.01], "output"), (12 * [0.1], "quadratic")])
    def test_outputs_give_way_to_what_is_clearly_better(self, merged_digits: Any, errors: list[float], winner: str) -> None:
        """Real fits, told to have missed their trials by `errors`."""
        history = merged_digits.history(0, 12)
        contest = _Contest(history, None, 0, QuadraticOptions(), None)

        def missed(by: list[float]) -> dict[str, Any]:
            off = torch.tensor(by, dtype=torch.float64)
            return {"loo_scores": tuple((history.scores + off).tolist()), "loo_rmse": root_mean_square(off)}

        outputs, quadratic = fit_output_space(history), fit_quadratic(history)
        contest.fits["output"] = replace(outputs, diagnostics=replace(outputs.diagnostics, **missed(errors)))
        contest.fits["quadratic"] = replace(quadratic, diagnostics=replace(quadratic.diagnostics, **missed(12 * [0.05])))
        assert contest.least() == "quadratic"
        assert contest.leader() == winner

    def test_a_quadratic_wins_where_the_truth_is_one(self) -> None:
        assert isinstance(fit_surrogate("auto", quadratic_history(12)), Quadratic)

    def test_a_gp_wins_where_scores_bend(self) -> None:
        fit = fit_surrogate("auto", wave_history(25))
        assert isinstance(fit, GaussianProcess)
        assert set(fit.diagnostics.details["loo_rmse"]) == {"quadratic", "gp"}  # type: ignore[call-overload]

    def test_too_few_trials_for_a_quadratic_leave_the_others_and_are_told(self) -> None:
        fit = fit_surrogate("auto", wave_history(4))
        assert isinstance(fit, GaussianProcess)
        assert "quadratic not possible" in str(fit.diagnostics.details["choice"])

    def test_too_few_trials_for_anything_are_refused(self) -> None:
        with pytest.raises(UnidentifiedError) as refusal:
            fit_surrogate("auto", wave_history(2))
        assert refusal.value.needed == 3


class TestQuadraticOptions:
    def test_auto_fits_its_quadratic_as_it_is_told(self) -> None:
        history = quadratic_history(12)
        bounded = History(history.coefficients, history.scores.clamp(0.05, 0.95), Scale(0.0, 1.0))
        links: tuple[LinkName, ...] = ("logit", "identity")
        details = [fit_surrogate("quadratic", bounded, None, 0, QuadraticOptions(link)).diagnostics.details for link in links]
        assert [one["link"] for one in details] == ["logit", "identity"]

    def test_a_ridge_lets_auto_try_a_quadratic_on_few_trials(self) -> None:
        without, shrunk = (fit_surrogate("auto", wave_history(5), None, 0, QuadraticOptions(ridge=ridge)) for ridge in (0.0, 0.1))
        assert "quadratic" not in without.diagnostics.details["loo_rmse"]  # type: ignore[operator]
        assert "quadratic" in shrunk.diagnostics.details["loo_rmse"]  # type: ignore[operator]


class TestImport:
    def test_nothing_heavy_is_imported_before_a_fit(self) -> None:
        heavy = "import sys, surrogate.select; print([name for name in ('botorch', 'gpytorch', 'sklearn', 'scipy') if name in sys.modules])"
        said = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True).stdout
        assert said.strip() == "[]"
