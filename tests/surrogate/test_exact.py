"""The exact surrogate: affine outputs are known everywhere, so it is the truth that the other surrogates are held against."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from surrogate.design import initial_design, sobol_points
from surrogate.errors import FitFailedError, InvalidRequestError, UnidentifiedError
from surrogate.exact import affine_design, find_frame, fit_exact
from surrogate.figures import r_squared, root_mean_square
from surrogate.gp import fit_gp
from surrogate.history import History, Outputs, Scale
from surrogate.output_space import fit_output_space
from surrogate.quadratic import fit_quadratic

EXAMPLES = 150
CLASSES = torch.arange(EXAMPLES) % 4
SHARE = Scale(0.0, 1.0, True, EXAMPLES, True)
ERROR = Scale(0.0, None, False, EXAMPLES)


def accuracy(outputs: Tensor) -> Tensor:
    return (outputs.argmax(-1) == CLASSES).double().mean(-1)


def softened(outputs: Tensor) -> Tensor:
    return outputs.softmax(-1)[..., torch.arange(EXAMPLES), CLASSES].mean(-1)


def logits(points: Tensor) -> Tensor:
    """Affine in the coefficients, K x 150 x 4."""
    draw = torch.Generator().manual_seed(points.shape[1])
    start = torch.randn(EXAMPLES, 4, generator=draw) + torch.nn.functional.one_hot(CLASSES, 4)
    return start + torch.tensordot(points.float(), 2 * torch.randn(points.shape[1], EXAMPLES, 4, generator=draw), 1)


def squared_error(outputs: Tensor) -> Tensor:
    return (outputs - 1.0).square().mean((-2, -1)).double()


def squared_deviation(outputs: Tensor) -> Tensor:
    return (outputs - 1.0).square().mean(-1).std(-1).double() / EXAMPLES**0.5


def share_history(points: Tensor, targets: Tensor | None = None) -> History:
    values = logits(points)
    return History(points, accuracy(values), SHARE, Outputs(values, accuracy, softened, targets))


def error_history(points: Tensor) -> History:
    values = logits(points)
    return History(points, squared_error(values), ERROR, Outputs(values, squared_error, squared_error, deviation=squared_deviation))


class TestExactness:
    @pytest.mark.parametrize("targets", [None, CLASSES])
    @pytest.mark.parametrize("dimension", [2, 3, 8])
    def test_every_score_of_the_box_is_met(self, dimension: int, targets: Tensor | None) -> None:
        fit = fit_exact(share_history(affine_design(dimension, 0.0, 1.0), targets))
        new = sobol_points(dimension, 200, 1)
        torch.testing.assert_close(fit.score(new), accuracy(logits(new)))
        torch.testing.assert_close(fit.predict(new).mean, accuracy(logits(new)))

    def test_any_metric_is_applied_to_the_outputs(self) -> None:
        fit, new = fit_exact(error_history(affine_design(3, 0.0, 1.0))), sobol_points(3, 50, 1)
        torch.testing.assert_close(fit.predict(new).mean, squared_error(logits(new)), rtol=1e-5, atol=1e-6)

    def test_it_reaches_out_of_the_box(self) -> None:
        fit = fit_exact(share_history(affine_design(2, 0.0, 0.5)))
        far = 3 * sobol_points(2, 50, 1) - 1
        torch.testing.assert_close(fit.score(far), accuracy(logits(far)))

    @given(st.integers(1, 6), st.floats(-2, 0.9), st.floats(0.05, 3))
    def test_its_design_lies_in_the_box_and_spans_it(self, dimension: int, low: float, width: float) -> None:
        design = affine_design(dimension, low, low + width)
        assert design.shape == (dimension + 1, dimension)
        assert bool((design >= low).all() and (design <= low + width).all())
        assert find_frame(design).tolist() == list(range(dimension + 1))

    def test_its_design_is_the_origin_and_the_tuned_models_where_the_box_holds_them(self) -> None:
        assert torch.equal(affine_design(3, 0.0, 1.5), torch.cat([torch.zeros(1, 3), torch.eye(3)]).double())


class TestChecks:
    def test_trials_beyond_its_own_say_how_well_it_holds(self) -> None:
        fit = fit_exact(share_history(initial_design(3, 1, 12, 0, 0.0, 1.0)))
        assert fit.diagnostics.details["checked"] == 8
        assert fit.diagnostics.details["largest_gap"] == 0.0
        assert fit.diagnostics.loo_rmse == 0.0

    def test_outputs_that_are_not_affine_are_refused(self) -> None:
        points = initial_design(2, 1, 8, 0, 0.0, 1.0)
        bent = logits(points) * (1 + points.sum(1).float())[:, None, None]
        with pytest.raises(FitFailedError, match="not affine"):
            fit_exact(History(points, accuracy(bent), SHARE, Outputs(bent, accuracy, softened)))

    def test_trials_that_span_too_little_are_refused(self) -> None:
        with pytest.raises(UnidentifiedError, match="span 1 of 2") as refusal:
            fit_exact(share_history(torch.tensor([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]], dtype=torch.float64)))
        assert refusal.value.needed == 3

    def test_scores_alone_are_refused(self) -> None:
        with pytest.raises(InvalidRequestError, match="needs the outputs"):
            fit_exact(History(torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64), SHARE))


class TestIntervals:
    def test_a_share_of_right_answers_has_its_binomial_one(self) -> None:
        fit, new = fit_exact(share_history(affine_design(2, 0.0, 1.0))), sobol_points(2, 40, 1)
        prediction = fit.predict(new)
        assert bool((prediction.low <= prediction.mean).all() and (prediction.mean <= prediction.high).all())
        half = 1.96 * (prediction.mean * (1 - prediction.mean) / EXAMPLES).sqrt()
        torch.testing.assert_close((prediction.high - prediction.low) / 2, half, rtol=0.1, atol=0.005)

    def test_a_mean_over_examples_has_that_of_its_standard_error(self) -> None:
        fit, new = fit_exact(error_history(affine_design(2, 0.0, 1.0))), sobol_points(2, 40, 1)
        prediction = fit.predict(new)
        torch.testing.assert_close(prediction.high - prediction.mean, 1.96 * squared_deviation(logits(new)), rtol=1e-3, atol=1e-4)

    def test_other_bounded_scores_have_the_largest_that_their_bounds_allow(self) -> None:
        history = share_history(affine_design(2, 0.0, 1.0))
        loose = History(history.coefficients, history.scores, Scale(0.0, 1.0, True, EXAMPLES), history.outputs)
        prediction = fit_exact(loose).predict(sobol_points(2, 10, 1))
        most = 1.96 * (prediction.mean * (1 - prediction.mean) / EXAMPLES).sqrt()
        torch.testing.assert_close(prediction.high - prediction.mean, most, rtol=1e-4, atol=1e-6)


class TestUtility:
    @pytest.mark.parametrize("history", [share_history, error_history])
    def test_it_has_the_slope_of_finite_differences(self, history: Callable[[Tensor], History]) -> None:
        fit, new = fit_exact(history(affine_design(2, 0.0, 1.0))), sobol_points(2, 6, 1).requires_grad_()
        (slopes,) = torch.autograd.grad(fit.utility(new).sum(), new)
        with torch.no_grad():
            for axis in range(2):
                shift = 1e-2 * torch.eye(2, dtype=torch.float64)[axis]
                expected = (fit.utility(new + shift) - fit.utility(new - shift)) / 2e-2
                torch.testing.assert_close(slopes[:, axis], expected, atol=1e-2, rtol=2e-2)

    def test_it_follows_the_score(self) -> None:
        fit, new = fit_exact(share_history(affine_design(3, 0.0, 1.0), CLASSES)), sobol_points(3, 200, 1)
        assert r_squared(fit.score(new), fit.utility(new).detach()) > 0.8


class TestTruth:
    """What the other surrogates make of trials whose scores are known everywhere."""

    DESIGN, NEW = initial_design(3, 1, 30, 0, 0.0, 1.0), sobol_points(3, 100, 9)

    def test_squared_error_is_exactly_quadratic(self) -> None:
        truth = fit_exact(error_history(affine_design(3, 0.0, 1.0)))
        fit = fit_quadratic(History(self.DESIGN, truth.score(self.DESIGN), ERROR), "identity")
        assert fit.diagnostics.r2 > 1 - 1e-9
        assert r_squared(truth.score(self.NEW), fit.predict(self.NEW).mean) > 1 - 1e-9

    def test_the_output_surrogate_comes_closest_to_a_share_of_right_answers(self) -> None:
        truth = fit_exact(share_history(affine_design(3, 0.0, 1.0)))
        history, measured = share_history(self.DESIGN), truth.score(self.NEW)
        errors = {
            fit.diagnostics.surrogate: root_mean_square(fit.predict(self.NEW).mean - measured)
            for fit in (fit_output_space(history), fit_quadratic(history), fit_gp(history))
        }
        assert errors["output"] < 0.01
        assert errors["output"] < errors["gp"] < 0.06
        assert errors["quadratic"] < 0.06
