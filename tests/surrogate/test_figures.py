"""Figures against their definitions on cases worked by hand, and by simulation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from surrogate.errors import InvalidRequestError
from surrogate.figures import (
    generational_distance,
    hypervolume,
    inverted_generational_distance,
    normalised_scores,
    preference_regret,
    preference_weights,
    r_squared,
    reference_point,
    root_mean_square,
    win_rate,
)


def rows(*values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


STAIRS = rows([3, 1], [2, 2], [1, 3])
ZERO = torch.zeros(2, dtype=torch.float64)


class TestFit:
    def test_r_squared_of_a_perfect_and_of_a_constant_prediction(self) -> None:
        measured = torch.tensor([1.0, 2.0, 3.0])
        assert r_squared(measured, measured) == 1.0
        assert r_squared(measured, torch.full((3,), 2.0)) == 0.0

    def test_r_squared_of_scores_that_are_all_equal(self) -> None:
        assert r_squared(torch.ones(3), torch.ones(3)) == 1.0
        assert r_squared(torch.ones(3), torch.zeros(3)) == 0.0
        assert r_squared(torch.full((3,), 0.1, dtype=torch.float64), torch.full((3,), 0.1, dtype=torch.float64) + 2e-17) == 1.0

    def test_root_mean_square(self) -> None:
        assert root_mean_square(torch.tensor([3.0, -4.0])) == pytest.approx(12.5**0.5)


class TestHypervolume:
    def test_of_stairs_it_is_the_area_below(self) -> None:
        assert hypervolume(STAIRS, ZERO) == 6.0

    def test_dominated_points_and_points_below_the_reference_add_nothing(self) -> None:
        assert hypervolume(torch.cat([STAIRS, rows([1, 1], [-5, 9])]), ZERO) == 6.0

    def test_of_nothing_it_is_nothing(self) -> None:
        assert hypervolume(STAIRS[:0], ZERO) == 0.0

    @given(st.integers(2, 5), st.integers(0, 100))
    def test_it_is_the_share_of_random_points_that_the_front_beats(self, tasks: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        front = torch.rand(6, tasks, generator=generator, dtype=torch.float64)
        probes = torch.rand(20_000, tasks, generator=generator, dtype=torch.float64)
        beaten = (front[None] >= probes[:, None]).all(2).any(1).double().mean()
        assert hypervolume(front, torch.zeros(tasks, dtype=torch.float64)) == pytest.approx(float(beaten), abs=0.02)

    def test_the_reference_lies_a_tenth_of_the_range_below_the_worst(self) -> None:
        assert reference_point(rows([0, 10], [1, 30])).tolist() == pytest.approx([-0.1, 8.0])

    def test_values_that_are_not_finite_are_refused(self) -> None:
        with pytest.raises(InvalidRequestError):
            hypervolume(rows([float("nan"), 1.0]), ZERO)


class TestDistances:
    def test_a_front_is_at_no_distance_from_itself(self) -> None:
        assert generational_distance(STAIRS, STAIRS) == pytest.approx(0.0, abs=1e-7)

    def test_they_average_over_the_front_they_start_from(self) -> None:
        assert generational_distance(rows([0, 0]), rows([0, 1], [0, 3])) == 1.0
        assert inverted_generational_distance(rows([0, 0]), rows([0, 1], [0, 3])) == 2.0

    def test_of_nothing_there_is_no_distance(self) -> None:
        with pytest.raises(InvalidRequestError):
            generational_distance(STAIRS[:0], STAIRS)


class TestWinRate:
    def test_the_better_front_wins_always_and_ties_count_half(self) -> None:
        assert win_rate(STAIRS + 5, STAIRS) == 1.0
        assert win_rate(rows([1, 1]), rows([1, 0])) == 0.75

    @given(st.integers(0, 100))
    def test_two_fronts_share_the_pairs(self, seed: int) -> None:
        ours = torch.randint(0, 3, (5, 2), generator=torch.Generator().manual_seed(seed)).double()
        assert win_rate(ours, STAIRS) + win_rate(STAIRS, ours) == pytest.approx(1.0)


class TestNormalisedScores:
    def test_parity_is_one_in_both_directions(self) -> None:
        individual = torch.tensor([0.8, 2.0], dtype=torch.float64)
        scores = normalised_scores(rows([0.8, 2.0], [0.4, 4.0]), individual, [True, False])
        assert scores.tolist() == [[1.0, 1.0], [0.5, 0.5]]

    def test_a_ratio_that_means_nothing_is_refused(self) -> None:
        with pytest.raises(InvalidRequestError):
            normalised_scores(rows([0.5, 1.0]), torch.tensor([0.0, 1.0], dtype=torch.float64), [True, True])
        with pytest.raises(InvalidRequestError):
            normalised_scores(rows([0.5, 0.0]), torch.tensor([1.0, 1.0], dtype=torch.float64), [True, False])


class TestPreferenceRegret:
    def test_weights_lie_on_the_simplex_and_are_fixed_by_the_seed(self) -> None:
        weights = preference_weights(3, 500, 1)
        torch.testing.assert_close(weights.sum(1), torch.ones(500, dtype=torch.float64))
        torch.testing.assert_close(weights.mean(0), torch.full((3,), 1 / 3, dtype=torch.float64), atol=0.05, rtol=0)
        assert weights.equal(preference_weights(3, 500, 1))

    def test_it_is_the_loss_at_the_point_that_the_predictions_choose(self) -> None:
        predicted, measured = rows([0.9, 0.5], [0.5, 0.9]), rows([0.8, 0.4], [0.4, 0.8])
        assert preference_regret(predicted, measured, rows([1.0, 0.0])) == pytest.approx(0.2)
        assert preference_regret(predicted.flip(0), measured, rows([1.0, 0.0])) == pytest.approx(0.6)

    @given(st.integers(0, 200))
    def test_no_prediction_chooses_better_than_the_truth(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        measured, predicted = torch.rand(2, 12, 3, generator=generator, dtype=torch.float64)
        weights = preference_weights(3, 50, 0)
        assert preference_regret(measured, measured, weights) <= preference_regret(predicted, measured, weights)


class TestManyTasks:
    def test_the_approximation_meets_a_box_whose_volume_is_known(self):
        scores = torch.full((1, 12), 0.9, dtype=torch.float64)
        assert hypervolume(scores, torch.zeros(12, dtype=torch.float64)) == pytest.approx(0.9**12, rel=0.02)

    def test_the_same_at_every_call(self):
        scores = torch.rand(60, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        assert hypervolume(scores, torch.zeros(10, dtype=torch.float64)) == hypervolume(scores, torch.zeros(10, dtype=torch.float64))
