"""The first trials: inside the box, seeded, distinct, with enough levels, beginning with the corners."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from surrogate.design import initial_design, simplex_share, sobol_points
from surrogate.errors import InvalidRequestError
from surrogate.quadratic import quadratic_features

SIZES = st.tuples(st.integers(1, 8), st.integers(1, 4), st.integers(1, 60), st.integers(0, 10**6))
BOXES = st.sampled_from([(0.0, 1.0), (0.0, 0.4), (-0.5, 1.5), (0.2, 2.0), (-1.0, -0.1)])


class TestInitialDesign:
    @example((6, 1, 22, 0), (0.2, 2.0))
    @given(SIZES, BOXES)
    def test_rows_are_distinct_and_inside_the_box(self, sizes: tuple[int, int, int, int], box: tuple[float, float]) -> None:
        tuned, groups, count, seed = sizes
        design = initial_design(tuned, groups, count, seed, *box)
        assert design.shape == (count, tuned * groups)
        assert design.dtype == torch.float64
        assert bool(((design >= box[0]) & (design <= box[1])).all())
        assert len(design.unique(dim=0)) == count

    @given(SIZES, BOXES)
    def test_every_axis_has_three_levels(self, sizes: tuple[int, int, int, int], box: tuple[float, float]) -> None:
        tuned, groups, count, seed = sizes
        design = initial_design(tuned, groups, max(count, tuned + 2, 3), seed, *box)
        assert all(len(axis.unique()) >= 3 for axis in design.T)

    @given(SIZES, st.integers(1, 20))
    def test_a_longer_design_begins_with_the_shorter(self, sizes: tuple[int, int, int, int], more: int) -> None:
        tuned, groups, count, seed = sizes
        longer = initial_design(tuned, groups, count + more, seed, 0.0, 1.0)
        assert longer[:count].equal(initial_design(tuned, groups, count, seed, 0.0, 1.0))

    def test_the_origin_and_each_tuned_model_alone_come_first(self) -> None:
        design = initial_design(2, 3, 8, 0, 0.0, 1.0)
        assert design[:3].tolist() == [[0] * 6, [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]

    def test_corners_outside_the_box_are_left_out(self) -> None:
        design = initial_design(2, 1, 8, 0, 0.0, 0.9)
        assert design[0].tolist() == [0, 0]
        assert float(design[1:].min()) > 0

    def test_seeds_differ(self) -> None:
        assert not initial_design(3, 1, 20, 0, 0.0, 1.0).equal(initial_design(3, 1, 20, 1, 0.0, 1.0))

    def test_large_sets_get_rows_of_small_total(self) -> None:
        totals = initial_design(8, 1, 109, 0, 0.0, 1.0)[9:].sum(1)
        assert int((totals <= 3.0).sum()) >= 50
        assert float(totals.min()) >= 0.5

    @pytest.mark.parametrize("tuned", range(2, 9))
    def test_a_quadratic_is_identifiable_from_it(self, tuned: int) -> None:
        free = (tuned + 1) * (tuned + 2) // 2
        features = quadratic_features(initial_design(tuned, 1, free, 0, 0.0, 1.0))
        assert int(torch.linalg.matrix_rank(torch.cat([torch.ones(free, 1), features], 1))) == free

    @pytest.mark.parametrize("request_", [(0, 1, 5, 0.0, 1.0), (2, 1, 0, 0.0, 1.0), (2, 1, 5, 1.0, 1.0), (2, 1, 5, 0.0, float("inf"))])
    def test_what_cannot_be_drawn_is_refused(self, request_: tuple[int, int, int, float, float]) -> None:
        tuned, groups, count, low, high = request_
        with pytest.raises(InvalidRequestError):
            initial_design(tuned, groups, count, 0, low, high)


def test_shares_grow_with_the_number_of_tuned_models() -> None:
    assert [simplex_share(tuned) for tuned in (1, 2, 4, 6, 8, 32)] == [0, 0, 0.25, 0.5, 0.5, 0.5]


def test_sobol_points_fill_the_unit_box_evenly() -> None:
    points = sobol_points(3, 64, 5)
    halves = (points > 0.5).long() @ torch.tensor([1, 2, 4])
    assert halves.bincount().tolist() == [8] * 8
