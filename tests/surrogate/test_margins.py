"""Leads: accuracy and softmax as functions of by how much wrong classes are ahead."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from surrogate import margins
from surrogate.design import initial_design, sobol_points
from surrogate.errors import InvalidHistoryError
from surrogate.figures import root_mean_square
from surrogate.history import History, Outputs, Scale
from surrogate.margins import leads_of, probability_right, share_right
from surrogate.output_space import fit_output_space

TARGETS = torch.arange(90) % 5
SHARE = Scale(0.0, 1.0, True, 90, True)


def accuracy(outputs: Tensor) -> Tensor:
    return (outputs.argmax(-1) == TARGETS).double().mean(-1)


def logits(points: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    slopes = torch.randn(points.shape[1], 90, 5, generator=generator)
    return 2 * torch.nn.functional.one_hot(TARGETS, 5) + torch.tensordot(points.float() - 0.3, 4 * slopes, 1)


class TestLeads:
    @given(st.integers(0, 1000))
    def test_their_score_is_the_accuracy_of_the_logits(self, seed: int) -> None:
        values = torch.randn(4, 90, 5, generator=torch.Generator().manual_seed(seed))
        leads = leads_of(Outputs(values, accuracy, None, TARGETS))
        assert leads.values.shape == (4, 4, 90)
        torch.testing.assert_close(leads.score(leads.values), accuracy(values), rtol=0, atol=1e-15)

    def test_a_tie_is_not_right(self) -> None:
        assert float(share_right(torch.zeros(1, 4, 90))) == 0.0

    def test_their_smooth_form_is_a_softmax_at_a_quarter_of_the_mean_gap(self) -> None:
        values = logits(sobol_points(2, 3, 0))
        leads = leads_of(Outputs(values, accuracy, None, TARGETS))
        own = values.gather(-1, TARGETS.expand(3, -1)[..., None])[..., 0]
        others = values.masked_fill(torch.nn.functional.one_hot(TARGETS, 5).bool(), float("-inf")).amax(-1)
        probabilities = (values / (0.25 * (others - own).abs().mean())).softmax(-1)
        expected = probabilities.gather(-1, TARGETS.expand(3, -1)[..., None])[..., 0].mean(-1)
        torch.testing.assert_close(probability_right(leads.values), expected)

    def test_hopeless_examples_have_no_slope_instead_of_no_number(self) -> None:
        leads = torch.full((1, 4, 90), 500.0, requires_grad=True)
        probability = probability_right(leads)
        (slopes,) = torch.autograd.grad(probability.sum(), leads)
        assert float(probability.detach()) < 1e-20
        assert slopes.eq(0.0).all()

    def test_logits_that_are_all_equal_have_leads_of_zero(self) -> None:
        leads = leads_of(Outputs(torch.ones(2, 90, 5), accuracy, None, TARGETS))
        assert leads.values.eq(0.0).all()


class TestDoor:
    def test_outputs_without_targets_stay_as_they_are(self) -> None:
        outputs = Outputs(torch.randn(3, 90, 5), accuracy)
        assert leads_of(outputs) is outputs

    def test_outputs_too_large_for_float32_stay_as_they_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(margins, "RESIDENT_BYTES", 1000)
        outputs = Outputs(torch.randn(3, 90, 5).half(), accuracy, None, TARGETS)
        assert leads_of(outputs) is outputs

    def test_targets_of_another_length_are_refused(self) -> None:
        outputs = Outputs(torch.randn(3, 90, 5), accuracy, None, TARGETS[:7])
        with pytest.raises(InvalidHistoryError, match="7 targets"):
            History(sobol_points(2, 3, 0), torch.full((3,), 0.5, dtype=torch.float64), SHARE, outputs)


class TestSurrogate:
    def test_targets_leave_predictions_as_they_were(self) -> None:
        points, new = initial_design(2, 1, 14, 0, 0.0, 1.0), sobol_points(2, 60, 1)
        values = logits(points)
        bare, told = (
            fit_output_space(History(points, accuracy(values), SHARE, Outputs(values, accuracy, None, targets))).predict(new)
            for targets in (None, TARGETS)
        )
        truth = accuracy(logits(new))
        assert root_mean_square(told.mean - truth) < 0.01
        assert root_mean_square(told.mean - bare.mean) < 0.01

    def test_its_utility_has_the_slope_of_finite_differences(self) -> None:
        points = initial_design(2, 1, 14, 0, 0.0, 1.0)
        values = logits(points)
        fit = fit_output_space(History(points, accuracy(values), SHARE, Outputs(values, accuracy, None, TARGETS)))
        new = sobol_points(2, 6, 1).requires_grad_()
        (slopes,) = torch.autograd.grad(fit.utility(new).sum(), new)
        with torch.no_grad():
            for axis in range(2):
                shift = 1e-3 * torch.eye(2, dtype=torch.float64)[axis]
                expected = (fit.utility(new + shift) - fit.utility(new - shift)) / 2e-3
                torch.testing.assert_close(slopes[:, axis], expected, atol=2e-3, rtol=2e-2)
