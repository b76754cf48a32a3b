"""Dominance against the definition, thinning against what it promises."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from surrogate.errors import InvalidRequestError
from surrogate.pareto import non_dominated, thin

# few distinct values, so that ties and equal rows are common
SCORES = (
    st.integers(1, 4)
    .flatmap(lambda tasks: st.lists(st.lists(st.integers(0, 4), min_size=tasks, max_size=tasks), min_size=1, max_size=30))
    .map(lambda rows: torch.tensor(rows, dtype=torch.float64))
)


def beaten(scores: Tensor, row: Tensor) -> bool:
    return any(bool((other >= row).all() and (other > row).any()) for other in scores)


class TestNonDominated:
    @given(SCORES)
    def test_it_agrees_with_the_definition(self, scores: Tensor) -> None:
        assert non_dominated(scores).tolist() == [not beaten(scores, row) for row in scores]

    def test_of_nothing_it_is_nothing(self) -> None:
        assert non_dominated(torch.zeros(0, 3, dtype=torch.float64)).shape == (0,)

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_values_that_are_not_finite_are_refused(self, bad: float) -> None:
        with pytest.raises(InvalidRequestError):
            non_dominated(torch.tensor([[0.0, bad]], dtype=torch.float64))


class TestThin:
    @given(SCORES, st.integers(1, 12))
    def test_it_keeps_distinct_rows_and_the_extremes(self, scores: Tensor, count: int) -> None:
        kept = thin(scores, count)
        assert len(kept) == min(count, len(scores.unique(dim=0)))
        assert len(scores[kept].unique(dim=0)) == len(kept)
        assert kept.tolist() == sorted(kept.tolist())
        if count >= scores.shape[1]:
            assert scores[kept].max(0).values.equal(scores.max(0).values)

    def test_a_dense_front_is_thinned_evenly(self) -> None:
        # the points crowd towards one end, the units of the tasks differ
        angle = torch.linspace(0, 1, 2000, dtype=torch.float64).pow(3) * torch.pi / 2
        front = torch.stack([angle.cos(), 1000 * angle.sin()], 1)
        gaps = angle[thin(front, 17)].diff()
        assert float(gaps.max() / gaps.min()) < 2.5

    def test_of_nothing_it_is_nothing(self) -> None:
        assert thin(torch.zeros(0, 2, dtype=torch.float64), 3).shape == (0,)

    def test_no_point_is_refused(self) -> None:
        with pytest.raises(InvalidRequestError):
            thin(torch.zeros(2, 2, dtype=torch.float64), 0)

    @given(SCORES, st.integers(1, 12), st.data())
    def test_rows_that_come_first_stay(self, scores: Tensor, count: int, data: st.DataObject) -> None:
        first = data.draw(st.integers(0, len(scores) - 1))
        kept = thin(scores, count, [first])
        assert first in kept.tolist()
        assert len(kept) <= count
