"""Smoothed scores: on the scale of the score, without its steps, with a slope."""

import torch
from torch import Tensor

from surrogate.design import sobol_points
from surrogate.figures import root_mean_square
from surrogate.history import History, Outputs, Scale
from surrogate.kernel import prior_from_gram
from surrogate.kriging import Kriging, fit_kriging
from surrogate.mixtures import Mixtures, mixtures_of
from surrogate.smoothing import EmulatedScore, SmoothMetric, smoothing_of

SHARE = Scale(0.0, 1.0, True, 200, True)
POINTS = sobol_points(1, 12, 0)


def margins(points: Tensor) -> Tensor:
    """Margins of 200 examples, n x 200 x 1: right where positive."""
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(200, generator=generator) + torch.sin(3 * points.float()))[..., None]


def right(outputs: Tensor) -> Tensor:
    return (outputs[..., 0] > 0).double().mean(-1)


def vague(outputs: Tensor) -> Tensor:
    """Far from the scale of the score: between .45 and .55."""
    return (0.5 + 0.05 * torch.tanh(outputs[..., 0])).mean(-1)


def parts(smooth: object) -> tuple[History, Mixtures, Outputs, Kriging]:
    values = margins(POINTS)
    outputs = Outputs(values, right, smooth)  # type: ignore[arg-type]
    history = History(POINTS, right(values), SHARE, outputs)
    mixed = mixtures_of(values)
    return history, mixed, outputs, fit_kriging(POINTS, mixed.moments(), prior_from_gram(1, None))


class TestSmoothMetric:
    def test_a_vague_form_is_moved_onto_the_scale_of_the_score(self) -> None:
        history, mixed, outputs, process = parts(vague)
        smoothing = smoothing_of(history, mixed, outputs, process, seed=0)
        assert isinstance(smoothing, SmoothMetric)
        new = sobol_points(1, 50, 1)
        smoothed = smoothing.score(new, process.weights(new))
        assert root_mean_square(smoothed - right(margins(new))) < 0.03

    def test_a_form_that_falls_as_the_score_rises_keeps_its_own_slope(self) -> None:
        history, mixed, outputs, process = parts(lambda values: 1 - vague(values))
        smoothing = smoothing_of(history, mixed, outputs, process, seed=0)
        assert isinstance(smoothing, SmoothMetric)
        assert smoothing.slope == 1.0

    def test_a_form_that_never_moves_is_left_alone(self) -> None:
        history, mixed, outputs, process = parts(lambda values: torch.full((len(values),), 0.5))
        smoothing = smoothing_of(history, mixed, outputs, process, seed=0)
        assert isinstance(smoothing, SmoothMetric)
        assert smoothing.slope == 1.0


class TestEmulatedScore:
    def test_it_levels_the_steps_of_the_score(self) -> None:
        history, mixed, outputs, process = parts(None)
        smoothing = smoothing_of(history, mixed, outputs, process, seed=0)
        assert isinstance(smoothing, EmulatedScore)
        line = torch.linspace(0.1, 0.4, 400, dtype=torch.float64)[:, None].requires_grad_()
        smoothed = smoothing.score(line, process.weights(line))
        assert root_mean_square(smoothed.detach() - right(margins(line.detach()))) < 0.01
        assert int(smoothed.detach().diff().eq(0).sum()) == 0
        (slopes,) = torch.autograd.grad(smoothed.sum(), line)
        assert bool(torch.isfinite(slopes).all())

    def test_it_is_seeded(self) -> None:
        scores = [smoothing_of(*parts(None), seed=seed).score(POINTS, torch.empty(0)) for seed in (0, 0, 1)]
        assert torch.equal(scores[0], scores[1])
        assert not torch.equal(scores[0], scores[2])
