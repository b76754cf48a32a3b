"""The amortised front: in the box, efficient, as good as exact and evolved fronts, for quadratics and for anything else."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from surrogate.concave import all_concave, mixture_peaks
from surrogate.design import initial_design
from surrogate.errors import InvalidRequestError
from surrogate.figures import generational_distance, hypervolume, preference_weights, reference_point
from surrogate.history import Diagnostics, FittedSurrogate, History, Prediction, Scale
from surrogate.landscape import linked_landscape, scored_landscape, stack_quadratics
from surrogate.pareto import non_dominated
from surrogate.quadratic import Quadratic, fit_quadratic
from surrogate.solve import Solver, predicted_utilities, solve_front

FREE = Scale(None, None)


def peaked(dimension: int, peaks: Sequence[Sequence[float]], seed: int = 0, scale: Scale = FREE, saddle: float = 0.0) -> list[Quadratic]:
    """One quadratic a peak, negative definite unless `saddle` bends one axis upwards."""
    points = initial_design(dimension, 1, 80, 0, -0.5, 1.5)
    generator = torch.Generator().manual_seed(seed)
    fits = []
    for peak in peaks:
        mix = 0.3 * torch.randn(dimension, dimension, generator=generator, dtype=torch.float64)
        bend = torch.eye(dimension, dtype=torch.float64) + mix @ mix.T
        bend[-1, -1] -= saddle
        away = points - torch.tensor(peak, dtype=torch.float64)
        height = 1.0 - 0.5 * ((away @ bend) * away).sum(1)
        scores = torch.sigmoid(height) if scale.low is not None else height
        fits.append(fit_quadratic(History(points, scores if scale.maximize else -scores, scale)))
    return fits


CORNERS = [[1.0, 0.0, 0.2], [0.0, 1.0, 0.2], [0.3, 0.3, 0.9]]


@dataclass(frozen=True)
class Hidden:
    """A surrogate that shows nothing but the protocol."""

    fit: Quadratic

    @property
    def diagnostics(self) -> Diagnostics:
        return self.fit.diagnostics

    def predict(self, coefficients: Tensor) -> Prediction:
        return self.fit.predict(coefficients)

    def utility(self, coefficients: Tensor) -> Tensor:
        return self.fit.utility(coefficients)


def volume_ratio(fits: Sequence[FittedSurrogate], ours: Tensor, theirs: Tensor) -> float:
    mine, other = predicted_utilities(fits, ours), predicted_utilities(fits, theirs)
    reference = reference_point(torch.cat([mine, other]))
    return hypervolume(mine, reference) / hypervolume(other, reference)


class TestSolveFront:
    @pytest.mark.parametrize(("solver", "saddle"), [("scalarised", 0.0), ("scalarised", 1.6), ("nsga3", 1.6)])
    def test_the_front_is_inside_the_box_efficient_and_seeded(self, solver: Solver, saddle: float) -> None:
        fits = peaked(3, CORNERS, saddle=saddle)
        front = solve_front(fits, 0.1, 0.9, 3, 16, 4, solver)
        assert 8 <= len(front) <= 16
        assert bool(((front >= 0.1) & (front <= 0.9)).all())
        assert bool(non_dominated(predicted_utilities(fits, front)).all())
        assert front.equal(solve_front(fits, 0.1, 0.9, 3, 16, 4, solver))

    @settings(max_examples=10)
    @given(st.integers(0, 1000), st.sampled_from([0.0, 1.6]))
    def test_no_random_point_beats_it_by_much(self, seed: int, saddle: float) -> None:
        fits = peaked(3, CORNERS, seed, saddle=saddle)
        front = predicted_utilities(fits, solve_front(fits, 0.0, 1.0, 3, 100, seed))
        others = torch.rand(2000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        margins = (predicted_utilities(fits, others)[:, None] - front[None]).amin(2)
        assert float(margins.max()) < 5e-3

    def test_it_holds_at_least_the_hypervolume_of_nsga3(self) -> None:
        fits = peaked(3, CORNERS, saddle=1.6)
        ours, theirs = (solve_front(fits, 0.0, 1.0, 3, 40, 0, solver) for solver in ("scalarised", "nsga3"))
        assert volume_ratio(fits, ours, theirs) >= 0.995

    def test_losses_are_turned_round(self) -> None:
        up, down = peaked(3, CORNERS), peaked(3, CORNERS, scale=Scale(None, None, maximize=False))
        torch.testing.assert_close(solve_front(up, 0.0, 1.0, 3, 20, 0), solve_front(down, 0.0, 1.0, 3, 20, 0), atol=1e-6, rtol=0)

    @pytest.mark.parametrize("saddle", [0.0, 1.6])
    def test_any_surrogate_will_do(self, saddle: float) -> None:
        fits = peaked(3, CORNERS, scale=Scale(0.0, 1.0), saddle=saddle)
        exact = solve_front(fits, 0.0, 1.0, 3, 60, 0)
        assert volume_ratio(fits, solve_front([Hidden(fit) for fit in fits], 0.0, 1.0, 3, 60, 0), exact) >= 0.97

    @pytest.mark.parametrize("solver", ["scalarised", "nsga3"])
    def test_one_task_has_one_best_point(self, solver: Solver) -> None:
        front = solve_front(peaked(3, CORNERS[:1]), 0.0, 1.0, 3, 10, 0, solver)
        torch.testing.assert_close(front[:1], torch.tensor(CORNERS[:1], dtype=torch.float64), atol=1e-2, rtol=0)

    def test_tasks_that_agree_leave_a_small_front(self) -> None:
        fits = peaked(2, [[0.4, 0.6], [0.4, 0.6]])
        front = solve_front(fits, 0.0, 1.0, 2, 50, 0)
        torch.testing.assert_close(front, torch.tensor([[0.4, 0.6]], dtype=torch.float64).expand_as(front), atol=1e-2, rtol=0)

    @pytest.mark.parametrize(("low", "high", "points"), [(1.0, 0.0, 5), (0.0, 1.0, 0)])
    def test_senseless_requests_are_refused(self, low: float, high: float, points: int) -> None:
        with pytest.raises(InvalidRequestError):
            solve_front(peaked(3, CORNERS), low, high, 3, points, 0)


class TestConcave:
    def test_the_closed_form_is_the_peak_of_the_mixture(self) -> None:
        quadratics = stack_quadratics(peaked(3, CORNERS))
        weights = preference_weights(3, 20, 0)
        peaks = mixture_peaks(quadratics, weights, -5.0, 5.0)
        slopes = quadratics.slopes(peaks)[1]
        torch.testing.assert_close((weights[:, :, None] * slopes).sum(1), torch.zeros(20, 3, dtype=torch.float64), atol=1e-9, rtol=0)

    def test_in_a_narrow_box_no_neighbour_is_higher(self) -> None:
        quadratics = stack_quadratics(peaked(3, CORNERS))
        weights = preference_weights(3, 20, 0)
        peaks = mixture_peaks(quadratics, weights, 0.2, 0.5)
        steps = 0.01 * torch.randn(200, 1, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        around = (peaks + steps).clamp(0.2, 0.5)
        heights = (quadratics.heights(around.reshape(-1, 3)).view(200, 20, 3) * weights).sum(2)
        assert bool((heights <= (quadratics.heights(peaks) * weights).sum(1) + 1e-12).all())

    def test_the_numeric_solver_finds_the_same_front(self) -> None:
        fits = peaked(3, CORNERS)
        quadratics = stack_quadratics(fits)
        assert all_concave(quadratics)
        exact = predicted_utilities(fits, mixture_peaks(quadratics, preference_weights(3, 4000, 0), 0.0, 1.0))
        numeric = predicted_utilities(fits, solve_front([Hidden(fit) for fit in fits], 0.0, 1.0, 3, 60, 0))
        assert generational_distance(numeric, exact) < 0.02

    def test_a_saddle_is_not_concave(self) -> None:
        assert not all_concave(stack_quadratics(peaked(3, CORNERS, saddle=1.6)))


class TestLandscape:
    @pytest.mark.parametrize("maximize", [True, False])
    def test_stacked_quadratics_are_the_utilities_with_their_slopes(self, maximize: bool) -> None:
        fits = peaked(3, CORNERS, scale=Scale(None, None, maximize=maximize)) + peaked(3, CORNERS, scale=Scale(0.0, 1.0))
        points = torch.rand(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        stacked, general = scored_landscape(fits), scored_landscape([Hidden(fit) for fit in fits])
        for ours, theirs in zip(stacked.slopes(points), general.slopes(points), strict=True):
            torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(stacked.heights(points), predicted_utilities(fits, points))
        torch.testing.assert_close(general.heights(points), predicted_utilities(fits, points))

    def test_the_link_changes_nobody_s_rank(self) -> None:
        fits = peaked(3, CORNERS, scale=Scale(0.0, 1.0))
        points = torch.rand(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        linked, scored = linked_landscape(fits).heights(points), scored_landscape(fits).heights(points)
        assert linked.argsort(0).equal(scored.argsort(0))
