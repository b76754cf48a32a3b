from hypothesis import given
from hypothesis import strategies as st

from checkpoints.combine import BLOCK
from checkpoints.header import TensorEntry
from checkpoints.segments import SEGMENT, cut_segments

sizes = st.lists(st.sampled_from([0, 1, 7, 1000, BLOCK, BLOCK + 1, 40 * BLOCK]), min_size=1, max_size=8)


def lay_out(elements):
    entries, at = [], 100
    for number, count in enumerate(elements):
        entries.append(TensorEntry(f"t{number}", "BF16", (count,), at, at + 2 * count))
        at += 2 * count
    return entries, at


@given(sizes)
def test_the_whole_is_covered_without_gap_or_overlap(elements):
    entries, end = lay_out(elements)
    reached = 100
    for segment in cut_segments(entries, 0, end):
        for piece in segment.pieces:
            assert piece.begin == reached and piece.begin == piece.entry.begin + 2 * BLOCK * piece.number
            assert 0 < piece.end - piece.begin <= 2 * BLOCK
            reached = piece.end
    assert reached == end


@given(sizes, st.data())
def test_a_range_takes_the_blocks_that_it_touches_and_no_others(elements, data):
    entries, end = lay_out(elements)
    begin = data.draw(st.integers(0, end - 1))
    stop = data.draw(st.integers(begin + 1, end))
    taken = [piece for segment in cut_segments(entries, begin, stop) for piece in segment.pieces]
    every = [piece for segment in cut_segments(entries, 0, end) for piece in segment.pieces]
    assert taken == [piece for piece in every if piece.begin < stop and begin < piece.end]


def test_long_tensors_are_cut_and_short_ones_gathered():
    filling = -(-SEGMENT // (2 * BLOCK))  # blocks
    entries, end = lay_out([(2 * filling + 1) * BLOCK, *[5] * 1000])
    segments = list(cut_segments(entries, 0, end))
    assert [len(segment.pieces) for segment in segments] == [filling, filling, 1001]
    assert all(segment.end - segment.begin >= SEGMENT for segment in segments[:-1])
