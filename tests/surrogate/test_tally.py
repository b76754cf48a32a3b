"""Counting right examples block by block gives what the outputs as a whole give."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from surrogate import tally
from surrogate.margins import share_right
from surrogate.tally import tally_of


@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 700), st.integers(0, 300), st.integers(0, 1000))
def test_the_share_is_that_of_the_leads(dimension: int, rivals: int, examples: int, vectors: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    parts = torch.randn(dimension + 1, rivals, examples, generator=draw)
    rows = torch.randn(vectors, dimension + 1, generator=draw)
    expected = share_right((rows @ parts.flatten(1)).view(vectors, rivals, examples)).double()
    # sums of another order may turn a lead that is all but zero
    assert float((tally_of(parts).share_right(rows.double()) - expected).abs().sum()) <= 1.01 / examples


def test_a_tie_is_not_right() -> None:
    assert tally_of(torch.zeros(2, 3, 10)).share_right(torch.ones(4, 2)).tolist() == [0.0] * 4


def test_classes_without_end_are_counted_example_by_example() -> None:
    parts = torch.randn(2, 3000, 5, generator=torch.Generator().manual_seed(0)) - 4.0
    rows = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    expected = share_right((rows @ parts.flatten(1)).view(2, 3000, 5)).double()
    assert tally_of(parts).share_right(rows).tolist() == pytest.approx(expected.tolist())


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "VECTORS", 8)
    counted = tally_of(torch.randn(3, 4, 90, generator=torch.Generator().manual_seed(1)))
    rows = torch.randn(61, 3, generator=torch.Generator().manual_seed(2))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = counted.share_right(rows)
        torch.set_num_threads(3)
        together = counted.share_right(rows)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(alone, together)
