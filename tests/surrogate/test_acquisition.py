"""Batches of every acquisition: inside the box, new, seeded, and where there is something to learn."""

from functools import cache
from statistics import fmean
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from surrogate.acquisition import SAME, Acquisition, propose_batch
from surrogate.errors import InvalidRequestError
from surrogate.figures import hypervolume
from surrogate.history import History, Scale
from surrogate.quadratic import fit_quadratic
from surrogate.select import SurrogateName, fit_surrogate

NAMES: tuple[Acquisition, ...] = get_args(Acquisition)
NONE_PENDING = torch.zeros(0, 3, dtype=torch.float64)


@pytest.fixture(scope="module")
def searched(merged_digits: Any) -> Any:
    """Histories of three tasks over `trials` merges, and fits of `surrogate`, made once."""

    @cache
    def make(trials: int = 12, surrogate: SurrogateName = "output") -> tuple[list[History], list[Any]]:
        histories = [merged_digits.history(task, trials) for task in range(3)]
        return histories, [fit_surrogate(surrogate, history, merged_digits.gram) for history in histories]

    return make


def usual(name: Acquisition) -> SurrogateName:
    """The surrogate that an acquisition draws from as it is: any other it replaces, at the cost of a fit."""
    return "gp" if name == "qlognehvi" else "output"


@pytest.mark.parametrize("name", NAMES)
class TestEveryAcquisition:
    def test_a_batch_lies_in_the_box_and_repeats_nothing(self, name: Acquisition, searched: Any) -> None:
        histories, fits = searched()
        pending = torch.tensor([[0.5, 0.5, 0.5]], dtype=torch.float64)
        found = propose_batch(name, histories, fits, pending, 3, 0.0, 1.0, 0)
        assert found.shape == (3, 3) and bool(((found >= 0) & (found <= 1)).all())
        everything = torch.cat([histories[0].coefficients, pending, found])
        apart = (everything[:, None] - everything).abs().amax(2) + torch.eye(len(everything))
        assert float(apart[-3:].min()) >= SAME

    def test_batches_are_seeded(self, name: Acquisition, searched: Any) -> None:
        histories, fits = searched(12, usual(name))
        two, fitted = histories[:2], fits[:2]
        first, again, other = (propose_batch(name, two, fitted, NONE_PENDING, 1, 0.0, 1.0, seed) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_smaller_can_be_better(self, name: Acquisition, searched: Any) -> None:
        """Losses in place of accuracies: what is proposed still lies where accuracy is high."""
        histories, _ = searched()
        losses = [History(h.coefficients, 1 - h.scores, Scale(0.0, 1.0, False, h.scale.examples, True)) for h in histories[:2]]
        found = propose_batch(name, losses, [fit_surrogate("gp", h) for h in losses], NONE_PENDING, 2, 0.0, 1.0, 0)
        judges = [fit_surrogate("output", h).predict(found).mean for h in histories[:2]]
        assert float(torch.stack(judges).amax(0).min()) > min(float(h.scores.mean()) for h in histories[:2])

    def test_nothing_to_propose_is_refused(self, name: Acquisition, searched: Any) -> None:
        histories, fits = searched(12, usual(name))
        with pytest.raises(InvalidRequestError, match="a batch needs"):
            propose_batch(name, histories, fits, NONE_PENDING, 0, 0.0, 1.0, 0)


@pytest.mark.parametrize("name", ["qlognehvi", "output"])
class TestPending:
    def test_what_is_pending_is_not_proposed_again(self, name: Acquisition, searched: Any) -> None:
        every, fitted = searched(12, usual(name))
        histories, fits = every[:2], fitted[:2]
        alone = propose_batch(name, histories, fits, NONE_PENDING, 1, 0.0, 1.0, 0)
        beside = propose_batch(name, histories, fits, alone, 1, 0.0, 1.0, 0)
        assert float((alone - beside).abs().max()) > 0.02


class TestImprovement:
    @pytest.mark.parametrize("tasks", [1, 5])
    def test_one_task_and_many_tasks_are_searched_by_preferences(self, tasks: int) -> None:
        """Every task's peak lies on the diagonal, between 0.1 and 0.9."""
        generator = torch.Generator().manual_seed(0)
        c = torch.rand(12, 2, generator=generator, dtype=torch.float64)
        noise = 0.02 * torch.randn(tasks, 12, generator=generator, dtype=torch.float64)
        histories = [History(c, noise[p] - (c - 0.1 - p / 5).square().sum(1), Scale(None, None)) for p in range(tasks)]
        fits = [fit_surrogate("gp", history) for history in histories]
        found = propose_batch("qlognehvi", histories, fits, torch.zeros(0, 2, dtype=torch.float64), 1, 0.0, 1.0, 0)
        assert float((found[:, 0] - found[:, 1]).abs().max()) < 0.4


class TestDraws:
    def test_the_front_grows_faster_than_by_a_design(self, merged_digits: Any) -> None:
        """Eight proposals add more hypervolume, as the surrogate of all 160 merges sees it, than eight more of the design; on average."""
        judges = [fit_surrogate("output", merged_digits.history(task, 160), merged_digits.gram) for task in range(3)]
        histories = [merged_digits.history(task, 8) for task in range(3)]
        fits = [fit_surrogate("output", history, merged_digits.gram) for history in histories]
        proposed = [propose_batch("output", histories, fits, NONE_PENDING, 8, 0.0, 1.0, seed) for seed in range(6)]

        def volume(points: Tensor) -> float:
            every = torch.cat([histories[0].coefficients, points])
            return hypervolume(torch.stack([judge.predict(every).mean for judge in judges], 1), torch.full((3,), 0.3, dtype=torch.float64))

        assert fmean(map(volume, proposed)) > fmean(map(volume, merged_digits.coefficients[8:88].split(8)))


class TestBins:
    def test_directions_where_the_surrogate_errs_are_drawn_more_often(self) -> None:
        """One half of the plane is noise, the other is flat."""
        generator = torch.Generator().manual_seed(0)
        c = torch.rand(60, 2, generator=generator, dtype=torch.float64)
        noise = torch.where(c[:, 0] > c[:, 1], torch.randn(60, generator=generator, dtype=torch.float64), 0.0)
        history = History(c, noise, Scale(None, None))
        found = propose_batch("bins", [history], [fit_surrogate("quadratic", history)], torch.zeros(0, 2), 60, 0.0, 1.0, 0)
        assert float((found[:, 0] > found[:, 1]).double().mean()) > 0.7

    def test_hundred_coordinates_have_more_bins_than_can_be_listed(self) -> None:
        c = torch.rand(20, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        history = History(c, c.sum(1), Scale(None, None))
        fit = fit_quadratic(history, ridge=1.0)
        assert propose_batch("bins", [history], [fit], torch.zeros(0, 100), 4, 0.0, 1.0, 0).shape == (4, 100)
