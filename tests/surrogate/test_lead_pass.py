"""The compiled pass over leads gives what the formulas give on all outputs at once, whatever the sizes and the number of threads."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from surrogate import lead_pass
from surrogate.history import Outputs
from surrogate.lead_pass import LARGEST_EXPONENT, differentiate_probability, read_leads
from surrogate.margins import LeadMixtures, mixtures_of_outputs, probability_right, share_right
from surrogate.mixtures import Mixtures, Moved

SIZES = (st.integers(0, 40), st.integers(1, 30), st.integers(1, 7), st.integers(1, 600), st.integers(0, 1000))


def drawn(count: int, trials: int, rivals: int, examples: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, leads of the trials, and the mixed leads in float64."""
    draw = torch.Generator().manual_seed(seed)
    weights = torch.randn(count, trials, generator=draw, dtype=torch.float64)
    leads = torch.randn(trials, rivals, examples, generator=draw)
    return weights, leads, torch.tensordot(weights.float().double(), leads.double(), 1)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class TestReading:
    @settings(max_examples=40)
    @given(*SIZES)
    def test_it_is_that_of_the_mixed_leads(self, count: int, trials: int, rivals: int, examples: int, seed: int) -> None:
        weights, leads, mixed = drawn(count, trials, rivals, examples, seed)
        share, probability = read_leads(weights, leads, smooth=True)
        # sums of another order may turn a lead that is all but zero
        assert float((share - (mixed.amax(1) < 0).double().mean(1)).abs().sum()) <= 1.01 / examples
        torch.testing.assert_close(probability, probability_right(mixed), atol=1e-5, rtol=1e-4)

    def test_a_tie_is_not_right(self) -> None:
        assert read_leads(torch.ones(2, 3).double(), torch.zeros(3, 4, 50), smooth=False)[0].tolist() == [0.0, 0.0]

    @pytest.mark.parametrize("lead", [-1e30, -200.0, -88.0, -1e-6, 3.0, 60.0, 200.0, 1e30])
    def test_probabilities_hold_at_any_lead(self, lead: float) -> None:
        weights, leads = torch.ones(1, 1).double(), torch.full((1, 2, 33), lead)
        expected = probability_right(leads.double())
        torch.testing.assert_close(read_leads(weights, leads, smooth=True)[1], expected, atol=1e-30, rtol=1e-6)
        probability, slopes = differentiate_probability(weights, leads)
        torch.testing.assert_close(probability, expected, atol=1e-25, rtol=1e-6)
        assert bool(torch.isfinite(slopes).all())
        assert lead <= LARGEST_EXPONENT or bool(slopes.eq(0.0).all())

    def test_threads_change_nothing(self, threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lead_pass, "WORTH_THREADS", 0)
        weights, leads, _ = drawn(800, 5, 3, 700, 0)
        found = []
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(torch.cat([*read_leads(weights, leads, smooth=True), differentiate_probability(weights, leads)[1].flatten()]))
        assert torch.equal(*found)


class TestSlopes:
    @settings(max_examples=25)
    @given(*SIZES)
    def test_they_are_those_of_the_probability(self, count: int, trials: int, rivals: int, examples: int, seed: int) -> None:
        weights, leads, mixed = drawn(count, trials, rivals, examples, seed)
        mixed.requires_grad_()
        (expected,) = torch.autograd.grad(probability_right(mixed).sum(), mixed)
        slopes = differentiate_probability(weights, leads)[1].double()
        torch.testing.assert_close(slopes, expected, atol=1e-5 / examples, rtol=1e-3)


class TestMixtures:
    def test_leads_are_read_as_other_outputs_are(self) -> None:
        weights, leads, _ = drawn(9, 6, 3, 70, 1)
        quick = mixtures_of_outputs(Outputs(leads, share_right, probability_right))
        plain = Mixtures(quick.values, quick.shape)
        assert isinstance(quick, LeadMixtures)
        moved = Moved(probability_right, lambda scores: 2 * scores.double() + 1)

        def worst(outputs: Tensor) -> Tensor:
            return outputs.amax((1, 2))

        for metrics in ((share_right, moved), (probability_right,), (share_right, worst)):
            for one, other in zip(quick.score(weights, *metrics), plain.score(weights, *metrics), strict=True):
                torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)
        for metric in (moved, probability_right, worst):
            leaves = [weights.clone().requires_grad_() for _ in range(2)]
            scores = [mixed.differentiable_score(leaf, metric) for mixed, leaf in zip((quick, plain), leaves, strict=True)]
            slopes = [torch.autograd.grad(score.square().sum(), leaf)[0] for score, leaf in zip(scores, leaves, strict=True)]
            torch.testing.assert_close(scores[0], scores[1], atol=1e-6, rtol=1e-6)
            torch.testing.assert_close(slopes[0], slopes[1], atol=1e-5, rtol=1e-5)

    def test_other_outputs_stay_plain(self) -> None:
        assert type(mixtures_of_outputs(Outputs(torch.zeros(3, 2, 4), lambda outputs: outputs.sum((1, 2))))) is Mixtures
