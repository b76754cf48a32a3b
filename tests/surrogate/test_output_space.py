"""The output-space surrogate: exact where outputs are affine, better than scores where they are not, honest about its errors."""

from typing import Any

import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score
from torch import Tensor

from surrogate.design import initial_design, sobol_points
from surrogate.errors import InvalidRequestError, UnidentifiedError
from surrogate.figures import root_mean_square
from surrogate.history import History, Outputs, Scale
from surrogate.output_space import OutputSpace, fit_output_space
from surrogate.quadratic import fit_quadratic

CLASSES = torch.arange(120) % 3
SHARE = Scale(0.0, 1.0, True, 120, True)


def accuracy(outputs: Tensor) -> Tensor:
    return (outputs.argmax(-1) == CLASSES).double().mean(-1)


def softened(outputs: Tensor) -> Tensor:
    return outputs.softmax(-1)[..., torch.arange(120), CLASSES].mean(-1)


def affine_logits(points: Tensor) -> Tensor:
    """Logits affine in the coefficients, K x 120 x 3: a logistic model whose weights are merged."""
    generator = torch.Generator().manual_seed(3)
    base = torch.randn(120, 3, generator=generator) + 1.5 * torch.nn.functional.one_hot(CLASSES, 3)
    slopes = torch.randn(points.shape[1], 120, 3, generator=generator)
    return base + torch.tensordot(points.float(), 2.0 * slopes, 1)


def affine_history(trials: int, dimension: int = 2, **changes: Any) -> History:
    points = initial_design(dimension, 1, trials, 0, 0.0, 1.0)
    logits = affine_logits(points)
    outputs = Outputs(logits, changes.get("score", accuracy), changes.get("smooth", softened))
    return History(points, outputs.score(logits), changes.get("scale", SHARE), outputs)


class TestAffineOutputs:
    def test_scores_are_met_almost_exactly_from_few_trials(self) -> None:
        fit = fit_output_space(affine_history(8))
        new = sobol_points(2, 50, 1)
        error = fit.predict(new).mean - accuracy(affine_logits(new))
        assert root_mean_square(error) < 0.01
        assert fit.diagnostics.r2 > 0.99

    @pytest.mark.parametrize("trials", [3, 4])
    def test_the_fewest_trials_give_a_fit(self, trials: int) -> None:
        prediction = fit_output_space(affine_history(trials)).predict(sobol_points(2, 5, 1))
        assert bool((prediction.low <= prediction.mean).all()) and bool((prediction.mean <= prediction.high).all())


class TestMergedDigits:
    @pytest.mark.parametrize("task", [0, 1, 2])
    def test_its_held_out_error_is_a_fraction_of_the_quadratics(self, merged_digits: Any, task: int) -> None:
        points, measured = merged_digits.held_out(task)
        output = fit_output_space(merged_digits.history(task, 20), merged_digits.gram).predict(points)
        quadratic = fit_quadratic(merged_digits.history(task, 40)).predict(points)
        assert root_mean_square(output.mean - measured) < 0.5 * root_mean_square(quadratic.mean - measured)

    @pytest.mark.parametrize("trials", [20, 40])
    def test_intervals_cover_what_they_say(self, merged_digits: Any, trials: int) -> None:
        covered = []
        for task in range(3):
            points, measured = merged_digits.held_out(task)
            prediction = fit_output_space(merged_digits.history(task, trials), merged_digits.gram).predict(points)
            covered.append(((prediction.low <= measured) & (measured <= prediction.high)).double().mean())
        assert 0.90 <= float(torch.stack(covered).mean()) <= 0.98

    def test_leave_one_out_errors_foretell_held_out_ones(self, merged_digits: Any) -> None:
        points, measured = merged_digits.held_out(0)
        fit = fit_output_space(merged_digits.history(0, 30), merged_digits.gram)
        held_out = root_mean_square(fit.predict(points).mean - measured)
        assert held_out / 3 < fit.diagnostics.loo_rmse < 3 * held_out

    def test_smoothed_scores_follow_the_measured_ones(self, merged_digits: Any) -> None:
        points, measured = merged_digits.held_out(0)
        smoothed = fit_output_space(merged_digits.history(0, 20), merged_digits.gram).predict(points).smoothed
        assert float(torch.corrcoef(torch.stack([smoothed, measured]))[0, 1]) > 0.95
        assert abs(float((smoothed - measured).mean())) < 0.05


class TestMetrics:
    def test_f1_which_is_no_sum_over_examples(self) -> None:
        def f1(outputs: Tensor) -> Tensor:
            guesses = outputs.argmax(-1)
            return torch.tensor([f1_score(CLASSES, guess, average="macro") for guess in guesses], dtype=torch.float64)

        fit = fit_output_space(affine_history(8, score=f1, smooth=None, scale=Scale(0.0, 1.0)))
        new = sobol_points(2, 20, 1)
        assert root_mean_square(fit.predict(new).mean - f1(affine_logits(new))) < 0.01

    def test_auroc_and_a_utility_without_a_smooth_form(self) -> None:
        def auroc(outputs: Tensor) -> Tensor:
            return torch.tensor([roc_auc_score(CLASSES == 1, each[:, 1]) for each in outputs], dtype=torch.float64)

        fit = fit_output_space(affine_history(8, score=auroc, smooth=None, scale=Scale(0.0, 1.0)))
        new = sobol_points(2, 20, 1).requires_grad_()
        assert root_mean_square(fit.predict(new).mean - auroc(affine_logits(new.detach()))) < 0.01
        utility = fit.utility(new)
        assert root_mean_square(utility.detach() - auroc(affine_logits(new.detach()))) < 0.02
        (slopes,) = torch.autograd.grad(utility.sum(), new)
        assert float(slopes.abs().min()) > 0.0

    def test_losses_are_turned_so_that_larger_is_better(self) -> None:
        def loss(outputs: Tensor) -> Tensor:
            return -outputs.log_softmax(-1)[..., torch.arange(120), CLASSES].double().mean(-1)

        fit = fit_output_space(affine_history(8, score=loss, smooth=loss, scale=Scale(0.0, None, maximize=False)))
        new = sobol_points(2, 20, 1)
        prediction = fit.predict(new)
        assert root_mean_square(prediction.mean - loss(affine_logits(new))) < 0.01
        torch.testing.assert_close(fit.utility(new), -prediction.smoothed)
        torch.testing.assert_close(prediction.smoothed, prediction.mean, atol=0.01, rtol=0.0)


class TestUtility:
    def test_its_gradient_is_that_of_finite_differences(self) -> None:
        fit = fit_output_space(affine_history(10, 3))
        points = sobol_points(3, 4, 1).requires_grad_()
        (slopes,) = torch.autograd.grad(fit.utility(points).sum(), points)
        step = 1e-3
        for axis in range(3):
            shift = torch.zeros(3, dtype=torch.float64)
            shift[axis] = step
            with torch.no_grad():
                expected = (fit.utility(points + shift) - fit.utility(points - shift)) / (2 * step)
            torch.testing.assert_close(slopes[:, axis], expected, atol=2e-3, rtol=2e-2)

    def test_it_has_a_slope_at_a_trial(self) -> None:
        history = affine_history(8)
        fit = fit_output_space(history)
        point = history.coefficients[:2].clone().requires_grad_()
        (slopes,) = torch.autograd.grad(fit.utility(point).sum(), point)
        assert bool(torch.isfinite(slopes).all())
        assert float(slopes.abs().max()) > 0.0


class TestDraw:
    def test_draws_scatter_where_little_is_known(self) -> None:
        history = affine_history(5)
        fit = fit_output_space(history)
        known, unknown = (fit.draw(points, 400, 0).std(0).mean() for points in (history.coefficients, history.coefficients + 2.0))
        assert float(known) < 0.5 * float(unknown)

    def test_they_are_seeded(self) -> None:
        fit = fit_output_space(affine_history(5))
        points = sobol_points(2, 4, 1) + 2.0  # far from the trials, where draws differ by whole examples
        assert torch.equal(fit.draw(points, 40, 0), fit.draw(points, 40, 0))
        assert not torch.equal(fit.draw(points, 40, 0), fit.draw(points, 40, 1))


class TestDoor:
    def test_float16_outputs_give_the_same_scores_within_a_step(self, merged_digits: Any) -> None:
        half = merged_digits.history(0, 20)
        assert half.outputs.values.dtype == torch.float16
        double = History(half.coefficients, half.scores, half.scale, Outputs(half.outputs.values.double(), merged_digits.score))
        points, _ = merged_digits.held_out(0)
        means = [fit_output_space(each).predict(points).mean for each in (half, double)]
        torch.testing.assert_close(*means, atol=2.5e-3, rtol=0.0)

    def test_fits_are_deterministic(self, merged_digits: Any) -> None:
        points, _ = merged_digits.held_out(1)

        def predicted() -> Tensor:
            fit: OutputSpace = fit_output_space(merged_digits.history(1, 15), merged_digits.gram)
            prediction = fit.predict(points)
            return torch.stack([prediction.mean, prediction.low, prediction.high, prediction.smoothed])

        assert torch.equal(predicted(), predicted())

    def test_a_history_without_outputs_is_refused(self) -> None:
        bare = History(sobol_points(2, 6, 0), torch.rand(6, dtype=torch.float64), Scale(0.0, 1.0))
        with pytest.raises(InvalidRequestError, match="choose gp or quadratic"):
            fit_output_space(bare)

    def test_two_trials_are_too_few(self) -> None:
        with pytest.raises(UnidentifiedError) as refusal:
            fit_output_space(affine_history(2))
        assert (refusal.value.needed, refusal.value.got) == (3, 2)

    def test_a_gram_matrix_of_another_size_is_refused(self) -> None:
        with pytest.raises(InvalidRequestError, match="Gram matrix"):
            fit_output_space(affine_history(6), torch.eye(3))

    def test_trials_that_all_score_the_same_give_narrow_intervals(self) -> None:
        history = affine_history(6)
        still = Outputs(affine_logits(torch.zeros(6, 2)), accuracy, softened)
        same = History(history.coefficients, still.score(still.values), SHARE, still)
        prediction = fit_output_space(same).predict(sobol_points(2, 4, 1))
        torch.testing.assert_close(prediction.mean, same.scores[:1].expand(4))
        assert float((prediction.high - prediction.low).max()) == pytest.approx(1 / 120)

    def test_sixty_coordinates_are_fitted_from_thirty_trials(self) -> None:
        fit = fit_output_space(affine_history(30, 60))
        new = sobol_points(60, 30, 1)
        error = fit.predict(new).mean - accuracy(affine_logits(new))
        assert root_mean_square(error) < float(accuracy(affine_logits(new)).std()) * 1.5
