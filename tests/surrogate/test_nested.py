"""Nested merging keeps its books: pairs are optimal and balanced, composed coefficients give the weights of merging in steps."""

import math
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from surrogate.aims import Normalisation, Prefer
from surrogate.design import initial_design
from surrogate.errors import InvalidRequestError
from surrogate.history import History, Scale
from surrogate.nested import Item, choose_on_plane, first_items, merge_items, pair_items
from surrogate.quadratic import fit_quadratic


def cost(scores: list[float], order: tuple[int, ...]) -> float:
    return sum(abs(scores[order[k]] - scores[order[k + 1]]) for k in range(0, len(order) - 1, 2))


class TestPairItems:
    @given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
    def test_no_other_pairing_is_closer(self, scores: list[float]) -> None:
        pairs = pair_items(torch.tensor(scores, dtype=torch.float64))
        ours = sum(abs(scores[pair[0]] - scores[pair[1]]) for pair in pairs if len(pair) == 2)
        assert ours == pytest.approx(min(cost(scores, order) for order in permutations(range(len(scores)))))

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=33))
    def test_every_item_is_in_one_pair_and_at_most_one_stays_alone(self, scores: list[float]) -> None:
        pairs = pair_items(torch.tensor(scores, dtype=torch.float64))
        assert sorted(index for pair in pairs for index in pair) == list(range(len(scores)))
        assert [len(pair) for pair in pairs].count(1) == len(scores) % 2

    @pytest.mark.parametrize("tuned", [2, 3, 5, 8, 17, 32])
    def test_levels_are_balanced(self, tuned: int) -> None:
        left, levels = tuned, 0
        while left > 1:
            left, levels = len(pair_items(torch.rand(left, dtype=torch.float64))), levels + 1
        assert levels == math.ceil(math.log2(tuned))

    def test_scores_that_are_not_finite_are_refused(self) -> None:
        with pytest.raises(InvalidRequestError):
            pair_items(torch.tensor([0.1, float("nan")]))


class TestMergeItems:
    @given(st.integers(0, 1000))
    def test_composed_coefficients_are_the_merge_in_steps(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        base, tuned = torch.randn(7, generator=generator), torch.randn(3, 7, generator=generator)
        base, tuned = base.double(), tuned.double()
        inner, outer = torch.rand(2, 2, generator=generator, dtype=torch.float64)
        weights = base + inner[0] * (tuned[0] - base) + inner[1] * (tuned[2] - base)
        weights = base + outer[0] * (weights - base) + outer[1] * (tuned[1] - base)
        first, second, third = first_items(3)
        item = merge_items(merge_items(first, third, inner), second, outer)
        torch.testing.assert_close(base + item.coefficients @ (tuned - base), weights)
        assert item.tasks == (0, 1, 2)

    def test_other_numbers_of_coefficients_are_refused(self) -> None:
        item = Item(torch.zeros(2, dtype=torch.float64), (0,))
        with pytest.raises(InvalidRequestError):
            merge_items(item, item, torch.zeros(3, dtype=torch.float64))


class TestChooseOnPlane:
    def test_equal_weights_find_the_point_that_serves_both_tasks_alike(self) -> None:
        """Two bowls, peaks at (.8, .2) and (.2, .8): halfway, the box's middle, and nearer to the one that weighs more."""
        design = initial_design(2, 1, 12, 0, 0.0, 1.0)
        peaks = {"one": torch.tensor([0.8, 0.2], dtype=torch.float64), "two": torch.tensor([0.2, 0.8], dtype=torch.float64)}
        fits = {
            task: fit_quadratic(History(design, (design - peak).square().sum(1), Scale(None, None, maximize=False)))
            for task, peak in peaks.items()
        }
        falls = dict.fromkeys(fits, False)
        span = Normalisation(torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64))

        def chosen(*weights: float) -> Tensor:
            return choose_on_plane(fits, falls, Prefer(torch.tensor(weights, dtype=torch.float64), span), 0.0, 1.0)

        torch.testing.assert_close(chosen(1.0, 1.0), torch.full((2,), 0.5, dtype=torch.float64), atol=1e-3, rtol=0.0)
        nearer = chosen(9.0, 1.0)
        # on the line between the peaks, where 9 d1² = d2²
        torch.testing.assert_close(nearer, torch.tensor([0.65, 0.35], dtype=torch.float64), atol=5e-3, rtol=0.0)
