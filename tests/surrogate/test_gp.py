"""The Gaussian process on scores: it learns curves that no quadratic has, and its errors in BoTorch become ours."""

from typing import Any

import pytest
import torch
from botorch.exceptions.errors import ModelFittingError
from torch import Tensor

from surrogate import gp
from surrogate.design import sobol_points
from surrogate.errors import FitFailedError, UnidentifiedError
from surrogate.figures import root_mean_square
from surrogate.gp import fit_gp
from surrogate.history import History, Scale
from surrogate.quadratic import fit_quadratic

FREE = Scale(None, None)


def wave(points: Tensor) -> Tensor:
    return torch.sin(5 * points[:, 0]) + points[:, 1].square()


def wave_history(trials: int, scale: Scale = FREE) -> History:
    points = sobol_points(2, trials, 0)
    return History(points, wave(points), scale)


def accuracy_history(trials: int, seed: int = 0) -> tuple[History, Tensor]:
    points = sobol_points(2, trials, seed)
    truth = torch.sigmoid(1.0 + wave(points))
    right = torch.binomial(torch.full_like(truth, 300), truth, generator=torch.Generator().manual_seed(seed))
    return History(points, right / 300, Scale(0.0, 1.0, True, 300, True)), truth


class TestPrediction:
    def test_a_wave_is_learnt_better_than_by_a_quadratic(self) -> None:
        history, new = wave_history(25), sobol_points(2, 80, 1)
        errors = [root_mean_square(fit.predict(new).mean - wave(new)) for fit in (fit_gp(history), fit_quadratic(history))]
        assert errors[0] < 0.2 * errors[1]

    def test_scores_stay_within_their_bounds(self) -> None:
        prediction = fit_gp(accuracy_history(12)[0]).predict(4 * sobol_points(2, 30, 1))
        assert 0.0 <= float(prediction.low.min()) <= float(prediction.high.max()) <= 1.0
        assert bool((prediction.low < prediction.mean).all()) and bool((prediction.mean < prediction.high).all())

    def test_intervals_cover_new_measurements(self) -> None:
        covered = []
        for seed in range(3):
            both, _ = accuracy_history(120, seed)
            seen = History(both.coefficients[:30], both.scores[:30], both.scale)
            prediction, measured = fit_gp(seen).predict(both.coefficients[30:]), both.scores[30:]
            covered.append(((prediction.low <= measured) & (measured <= prediction.high)).double().mean())
        assert 0.90 <= float(torch.stack(covered).mean()) <= 0.98

    def test_intervals_cover_merges_of_digits(self, merged_digits: Any) -> None:
        covered = []
        for task in range(3):
            points, measured = merged_digits.held_out(task)
            prediction = fit_gp(merged_digits.history(task, 40, with_outputs=False), merged_digits.gram).predict(points)
            covered.append(((prediction.low <= measured) & (measured <= prediction.high)).double().mean())
        assert 0.90 <= float(torch.stack(covered).mean()) <= 0.98

    def test_many_points_give_what_few_at_a_time_give(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fit, new = fit_gp(wave_history(10)), sobol_points(2, 20, 1)
        whole = fit.predict(new)
        monkeypatch.setattr(gp, "POINTS_AT_ONCE", 3)
        torch.testing.assert_close(fit.predict(new).mean, whole.mean)
        torch.testing.assert_close(fit.predict(new).low, whole.low, atol=1e-5, rtol=1e-5)


class TestLeaveOneOut:
    def test_it_is_the_process_without_the_trial(self) -> None:
        history = wave_history(9)
        fit = fit_gp(history)
        others = torch.arange(9) != 4
        standard = (history.scores - history.scores.mean()) / history.scores.std()
        # the same kernel and constant, on fewer trials
        fit.model.set_train_data(history.coefficients[others], standard[others], strict=False)
        left_out = float(fit.model.posterior(history.coefficients[4:5]).mean)
        assert left_out == pytest.approx(fit.diagnostics.loo_scores[4], abs=1e-4)

    def test_it_says_how_well_new_points_are_met(self) -> None:
        fit, new = fit_gp(wave_history(25)), sobol_points(2, 80, 1)
        held_out = root_mean_square(fit.predict(new).mean - wave(new))
        assert held_out / 4 < fit.diagnostics.loo_rmse < 4 * held_out


class TestUtility:
    @pytest.mark.parametrize("maximize", [True, False])
    def test_its_gradient_is_that_of_finite_differences(self, maximize: bool) -> None:
        fit = fit_gp(wave_history(12, Scale(None, None, maximize=maximize)))
        points = sobol_points(2, 5, 1).requires_grad_()
        utility = fit.utility(points)
        torch.testing.assert_close(utility.detach(), (1 if maximize else -1) * fit.predict(points.detach()).smoothed)
        (slopes,) = torch.autograd.grad(utility.sum(), points)
        step = 1e-5
        for axis in range(2):
            shift = torch.zeros(2, dtype=torch.float64)
            shift[axis] = step
            expected = (fit.utility(points.detach() + shift) - fit.utility(points.detach() - shift)) / (2 * step)
            torch.testing.assert_close(slopes[:, axis], expected.detach(), atol=1e-4, rtol=1e-3)


class TestDoor:
    def test_two_trials_are_too_few(self) -> None:
        with pytest.raises(UnidentifiedError) as refusal:
            fit_gp(wave_history(2))
        assert (refusal.value.needed, refusal.value.got) == (3, 2)

    def test_fits_are_deterministic_and_leave_the_global_generator_alone(self) -> None:
        torch.manual_seed(5)
        state = torch.get_rng_state()
        means = [fit_gp(wave_history(10), seed=1).predict(sobol_points(2, 10, 1)).mean for _ in range(2)]
        assert torch.equal(*means)
        assert torch.equal(torch.get_rng_state(), state)

    def test_trials_that_all_score_the_same_are_fitted(self) -> None:
        points = sobol_points(2, 6, 0)
        prediction = fit_gp(History(points, torch.full((6,), 0.7, dtype=torch.float64), FREE)).predict(points)
        torch.testing.assert_close(prediction.mean, torch.full((6,), 0.7, dtype=torch.float64), rtol=0, atol=1e-4)

    def test_a_fit_that_fails_in_botorch_fails_by_our_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fails(_: object) -> None:
            raise ModelFittingError("all attempts to fit the model have failed")

        monkeypatch.setattr(gp, "fit_gpytorch_mll", fails)
        with pytest.raises(FitFailedError, match="no optimum"):
            fit_gp(wave_history(6))

    def test_the_share_of_binomial_noise_is_told(self) -> None:
        details = fit_gp(accuracy_history(20)[0]).diagnostics.details
        assert details["link"] == "logit"
        assert details["noise"] == "share of the binomial variance"
        assert isinstance(details["noise_size"], float) and 0.0 < details["noise_size"] <= 1.0
