"""Counting right examples block by block gives what the outputs as a whole give."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from surrogate.margins import share_right
from surrogate.tally import tally_of


def expected(parts: Tensor, points: Tensor) -> Tensor:
    rows = torch.cat([torch.ones(len(points), 1), points], 1)
    return share_right((rows @ parts.flatten(1)).view(len(points), *parts.shape[1:])).double()


@settings(max_examples=25)
@given(st.integers(1, 20), st.integers(1, 7), st.integers(1, 700), st.integers(0, 300), st.integers(0, 1000))
def test_the_share_is_that_of_the_leads(dimension: int, rivals: int, examples: int, vectors: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    parts = torch.randn(dimension + 1, rivals, examples, generator=draw)
    points = torch.randn(vectors, dimension, generator=draw)
    # sums of another order may turn a lead that is all but zero
    assert float((tally_of(parts).share_right(points.double()) - expected(parts, points)).abs().sum()) <= 1.01 / examples


def test_a_tie_is_not_right() -> None:
    assert tally_of(torch.zeros(2, 3, 10)).share_right(torch.ones(4, 1)).tolist() == [0.0] * 4


def test_threads_change_nothing() -> None:
    counted = tally_of(torch.randn(3, 4, 90, generator=torch.Generator().manual_seed(1)))
    rows = torch.randn(610, 2, generator=torch.Generator().manual_seed(2))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = counted.share_right(rows)
        torch.set_num_threads(3)
        together = counted.share_right(rows)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(alone, together)
