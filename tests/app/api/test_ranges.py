"""Which bytes a Range header means."""

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from app.api.problems import ProblemError
from app.api.ranges import MOST_RANGES, wanted_spans

ETAG = '"tag"'


def spans(header, size=100, **more):
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in {"range": header, **more}.items()]
    return [(span.begin, span.end) for span in wanted_spans(Request({"type": "http", "headers": headers}), size, ETAG)]


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-0", [(0, 1)]), ("bytes=10-19", [(10, 20)]), ("bytes=90-", [(90, 100)]), ("bytes=-7", [(93, 100)]),
        ("bytes=90-1000", [(90, 100)]), ("bytes=-1000", [(0, 100)]), ("Bytes = 1-2 , 50-60", [(1, 3), (50, 61)]),
        ("bytes=50-60, 0-9", [(50, 61), (0, 10)]), ("bytes=0-9,5-20,21-30", [(0, 31)]), ("bytes=0-9,200-300", [(0, 10)]),
    ],
)  # fmt: skip
def test_names_bytes(header, wanted):
    assert spans(header) == wanted


@pytest.mark.parametrize("header", ["", "bytes", "bytes=", "bytes=a-b", "bytes=5-4", "bytes=-", "lines=1-2", "bytes=1-2,x", "bytes=1--2"])
def test_that_means_nothing_is_ignored(header):
    assert spans(header) == []


def test_of_too_many_is_ignored():
    assert spans("bytes=" + ",".join(f"{place}-{place}" for place in range(0, 4 * MOST_RANGES, 3))) == []


@pytest.mark.parametrize(("header", "size"), [("bytes=100-", 100), ("bytes=-0", 100), ("bytes=0-0", 0), ("bytes=100-200,300-400", 100)])
def test_beyond_the_end_is_told(header, size):
    with pytest.raises(ProblemError) as refused:
        spans(header, size)
    assert (refused.value.status, refused.value.headers) == (416, {"Content-Range": f"bytes */{size}"})


def test_counts_only_for_the_representation_that_the_client_began_with():
    assert spans("bytes=1-2", if_range=ETAG) == [(1, 3)]
    assert spans("bytes=1-2", if_range='"other"') == spans("bytes=1-2", if_range=f"W/{ETAG}") == []
    assert spans("bytes=1-2", if_range="Wed, 21 Oct 2015 07:28:00 GMT") == []


@given(st.integers(1, 60), st.lists(st.tuples(st.integers(0, 70), st.integers(0, 70)).map(sorted), min_size=1, max_size=8))
def test_gives_every_byte_that_was_asked_for_once(size, asked):
    wanted = {byte for first, last in asked for byte in range(first, last + 1) if byte < size}
    header = "bytes=" + ",".join(f"{first}-{last}" for first, last in asked)
    if not wanted:
        with pytest.raises(ProblemError):
            spans(header, size)
        return
    found = spans(header, size)
    assert sorted(byte for begin, end in found for byte in range(begin, end)) == sorted(wanted)
