"""The front of exact surrogates: nobody beats anybody, and no search that takes longer covers more."""

import pytest
import torch
from torch import Tensor

from surrogate.design import sobol_points
from surrogate.errors import InvalidRequestError
from surrogate.exact import Exact, affine_design, fit_exact
from surrogate.exact_front import exact_utilities, find_exact_front
from surrogate.figures import hypervolume, reference_point
from surrogate.history import History, Outputs, Scale
from surrogate.pareto import non_dominated
from surrogate.volume import cover

EXAMPLES, COLUMNS = 120, 3


def task(number: int, dimension: int, seed: int = 0) -> Exact:
    """A task that its own model helps and the others harm."""
    draw = torch.Generator().manual_seed(100 * seed + number)
    classes = torch.randint(COLUMNS, (EXAMPLES,), generator=draw)
    right = torch.nn.functional.one_hot(classes, COLUMNS)
    slopes = torch.randn(dimension, EXAMPLES, COLUMNS, generator=draw)
    slopes[number % dimension] += 3.0 * right
    design = affine_design(dimension, 0.0, 1.0)
    values = torch.randn(EXAMPLES, COLUMNS, generator=draw) + torch.tensordot(design.float(), slopes, 1)

    def score(outputs: Tensor) -> Tensor:
        return (outputs.argmax(-1) == classes).double().mean(-1)

    def smooth(outputs: Tensor) -> Tensor:
        return outputs.softmax(-1)[..., torch.arange(EXAMPLES), classes].mean(-1)

    return fit_exact(History(design, score(values), Scale(0.0, 1.0, True, EXAMPLES, True), Outputs(values, score, smooth, classes)))


@pytest.fixture(scope="module")
def fits() -> list[Exact]:
    return [task(number, 3) for number in range(3)]


class TestFront:
    def test_no_point_beats_another(self, fits: list[Exact]) -> None:
        found = find_exact_front(fits, 0.0, 1.0, 3, 40, 0)
        assert 20 <= len(found) <= 40
        assert bool((found >= 0).all() and (found <= 1).all())
        assert bool(non_dominated(exact_utilities(fits, found)).all())

    @pytest.mark.parametrize(("count", "share"), [(1 << 12, 1.0), (1 << 15, 0.99)])
    def test_it_covers_what_the_best_of_many_random_points_cover(self, fits: list[Exact], count: int, share: float) -> None:
        ours = exact_utilities(fits, find_exact_front(fits, 0.0, 1.0, 3, 40, 0))
        random = exact_utilities(fits, sobol_points(3, count, 5))
        others = random[non_dominated(random)]
        others = others[cover(others, 40)]
        reference = reference_point(torch.cat([ours, others]))
        assert hypervolume(ours, reference) > share * hypervolume(others, reference)

    def test_the_best_of_every_task_is_on_it(self, fits: list[Exact]) -> None:
        ours = exact_utilities(fits, find_exact_front(fits, 0.0, 1.0, 3, 12, 0))
        random = exact_utilities(fits, sobol_points(3, 1 << 13, 5))
        assert bool((ours.amax(0) >= random.amax(0)).all())

    def test_the_same_seed_gives_the_same_front(self, fits: list[Exact]) -> None:
        first, second = (find_exact_front(fits[:2], 0.0, 1.0, 3, 10, 4) for _ in range(2))
        assert torch.equal(first, second)

    def test_nothing_to_find_a_front_of_is_refused(self, fits: list[Exact]) -> None:
        with pytest.raises(InvalidRequestError, match="needs a task"):
            find_exact_front([], 0.0, 1.0, 3, 10, 0)
        with pytest.raises(InvalidRequestError, match="a box"):
            find_exact_front(fits, 1.0, 1.0, 3, 10, 0)
