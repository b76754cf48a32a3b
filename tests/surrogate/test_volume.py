"""Covering a front with few of its rows, against what a choice of all subsets covers."""

from itertools import combinations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from surrogate.errors import InvalidRequestError
from surrogate.figures import hypervolume, reference_point
from surrogate.volume import cover, even_directions, reach, scale_to_range

# few distinct values, so that ties and equal rows are common
SCORES = (
    st.integers(1, 4)
    .flatmap(lambda tasks: st.lists(st.lists(st.integers(0, 4), min_size=tasks, max_size=tasks), min_size=1, max_size=30))
    .map(lambda rows: torch.tensor(rows, dtype=torch.float64))
)


def sphere(tasks: int, count: int, seed: int) -> Tensor:
    """Points of a sphere in the positive corner: none beats another."""
    draws = torch.rand(count, tasks, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.05
    return draws / draws.norm(dim=1, keepdim=True)


@given(SCORES, st.integers(1, 12))
@example(torch.tensor([[0, 1, 1, 0], *[[4, 0, 0, 4]] * 6], dtype=torch.float64), 3)
def test_as_many_distinct_rows_as_there_are(scores: Tensor, count: int) -> None:
    kept = cover(scores, count)
    assert len(kept) == min(count, len(scores.unique(dim=0)))
    assert len(scores[kept].unique(dim=0)) == len(kept)
    assert kept.tolist() == sorted(kept.tolist())


@given(SCORES, st.integers(1, 12), st.data())
def test_rows_that_come_first_stay(scores: Tensor, count: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(scores) - 1))
    assert first in cover(scores, count, [first]).tolist()


@given(st.integers(2, 4), st.integers(0, 50))
def test_the_best_of_every_task_stays_where_there_is_room(tasks: int, seed: int) -> None:
    scores = sphere(tasks, 60, seed)
    assert set(scores.argmax(0).tolist()) <= set(cover(scores, 4 * tasks).tolist())


@given(st.integers(2, 4), st.integers(0, 50))
def test_nearly_the_best_choice_of_all(tasks: int, seed: int) -> None:
    scores = sphere(tasks, 9, seed)
    reference = reference_point(scores)
    best = max(hypervolume(scores[list(rows)], reference) for rows in combinations(range(9), 3))
    assert hypervolume(scores[cover(scores, 3)], reference) > 0.9 * best


@given(st.integers(2, 5), st.integers(0, 20))
def test_each_pick_adds_the_most(tasks: int, seed: int) -> None:
    scores = sphere(tasks, 40, seed)
    volumes = reach(scale_to_range(scores), even_directions(tasks, 4096, 0)).pow(tasks)
    picked: list[int] = []
    covered = torch.zeros(4096)
    for _ in range(tasks):
        picked.append(int((volumes - covered).clamp_min(0).sum(1).argmax()))
        covered = torch.maximum(covered, volumes[picked[-1]])
    assert cover(scores, tasks).tolist() == sorted(picked)


def test_it_loses_less_volume_than_chance() -> None:
    angles = torch.linspace(0, torch.pi / 2, 200, dtype=torch.float64)
    scores = torch.stack([angles.cos(), angles.sin()], 1)
    reference = reference_point(scores)
    draw = torch.Generator().manual_seed(0)
    others = [hypervolume(scores[torch.randperm(200, generator=draw)[:10]], reference) for _ in range(50)]
    assert hypervolume(scores[cover(scores, 10)], reference) > max(others)


def test_units_do_not_matter() -> None:
    scores = sphere(3, 40, 0)
    assert cover(scores, 8).equal(cover(scores * torch.tensor([1.0, 1024.0, 0.125]) - 5, 8))


def test_of_nothing_it_is_nothing() -> None:
    assert cover(torch.zeros(0, 2, dtype=torch.float64), 3).shape == (0,)


@pytest.mark.parametrize(("value", "count"), [(0.0, 0), (float("nan"), 2)])
def test_what_makes_no_sense_is_refused(value: float, count: int) -> None:
    with pytest.raises(InvalidRequestError):
        cover(torch.full((2, 2), value, dtype=torch.float64), count)


@given(st.integers(1, 6), st.integers(0, 100))
def test_directions_have_length_one(tasks: int, seed: int) -> None:
    directions = even_directions(tasks, 30, seed)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(30, dtype=torch.float64), rtol=1e-4, atol=1e-4)


def test_a_direction_is_left_by_the_task_that_gives_in_first() -> None:
    scores, directions = torch.tensor([[0.3, 0.8]]), torch.tensor([[0.6, 0.8], [0.8, 0.6]])
    torch.testing.assert_close(reach(scores, directions), torch.tensor([[0.5, 0.375]]))
