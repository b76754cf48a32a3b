"""The division of examples: disjoint, sized by the shares, and the same for whoever follows its description."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.datasets.split import split_rows
from app.domain.task import SplitShares


class TestSplitRows:
    @given(examples=st.integers(0, 300), search=st.integers(1, 9), report=st.integers(1, 9), seed=st.integers(0, 2**32))
    def test_disjoint_ascending_and_of_the_shares_size(self, examples, search, report, seed):
        shares = SplitShares(search / 18, report / 18, seed)
        splits = split_rows(examples, shares)
        both = np.concatenate([splits.search, splits.report])
        assert len(set(both.tolist())) == len(both)
        assert set(both.tolist()) <= set(range(examples))
        assert all((np.diff(rows) > 0).all() for rows in (splits.search, splits.report))
        assert abs(len(splits.search) - shares.search * examples) <= 0.5 + 1e-6
        assert abs(len(both) - (shares.search + shares.report) * examples) <= 0.5 + 1e-6

    def test_shares_that_sum_to_one_leave_nothing(self):
        for examples in (1, 2, 3, 7, 1287):
            splits = split_rows(examples, SplitShares(0.4, 0.6))
            assert len(splits.search) + len(splits.report) == examples

    def test_follows_its_description(self):
        words = np.random.PCG64(5).random_raw(10)
        order = sorted(range(10), key=lambda row: words[row])
        splits = split_rows(10, SplitShares(0.25, 0.5, 5))
        assert splits.search.tolist() == sorted(order[:3])
        assert splits.report.tolist() == sorted(order[3:8])

    def test_the_same_rows_for_good(self):
        # pinned: a change here would give every finished study other splits
        splits = split_rows(12, SplitShares(0.4, 0.6, 0))
        assert splits.search.tolist() == [1, 2, 3, 8, 11]

    def test_another_seed_another_division(self):
        assert split_rows(50, SplitShares(seed=1)).search.tolist() != split_rows(50, SplitShares(seed=2)).search.tolist()

    def test_rows_by_name(self):
        splits = split_rows(10, SplitShares())
        assert splits.rows("search") is splits.search
        assert splits.rows("report") is splits.report
