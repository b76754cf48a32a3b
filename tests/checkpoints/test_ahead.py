import threading

import pytest

from checkpoints.ahead import map_ahead


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_item_with_its_result_in_order(threads):
    assert list(map_ahead(lambda item: item * item, range(20), threads)) == [(item, item * item) for item in range(20)]


def test_threads_work_at_the_same_time():
    meeting = threading.Barrier(2, timeout=30)
    assert len({arrived for _, arrived in map_ahead(lambda item: meeting.wait(), range(4), 2)}) == 2


@pytest.mark.parametrize("threads", [1, 3])
def test_no_further_ahead_than_it_says(threads):
    begun = []
    results = map_ahead(begun.append, range(100), threads)
    next(results)
    results.close()
    assert len(begun) <= 2 * threads


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_out_at_its_item(threads):
    results = map_ahead(lambda item: 1 // (item - 2), range(9), threads)
    assert [item for item, _ in (next(results), next(results))] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
