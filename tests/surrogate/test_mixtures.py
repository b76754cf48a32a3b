"""Mixtures of outputs: the same scores and slopes whatever the blocks and the storage, without all outputs at once."""

import pytest
import torch
from torch import Tensor

from surrogate import mixtures
from surrogate.mixtures import mixtures_of

TARGETS = torch.arange(30) % 4


def accuracy(outputs: Tensor) -> Tensor:
    return (outputs.argmax(-1) == TARGETS).double().mean(-1)


def likelihood(outputs: Tensor) -> Tensor:
    return outputs.log_softmax(-1)[..., torch.arange(30), TARGETS].mean(-1)


@pytest.fixture
def values() -> Tensor:
    return torch.randn(6, 30, 4, generator=torch.Generator().manual_seed(0)).half()


@pytest.fixture
def weights() -> Tensor:
    return torch.randn(11, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class TestScore:
    def test_it_is_the_metric_of_the_weighted_sum(self, values: Tensor, weights: Tensor) -> None:
        expected = torch.tensordot(weights, values.double(), 1)
        exact, smooth = mixtures_of(values).score(weights, accuracy, likelihood)
        torch.testing.assert_close(exact, accuracy(expected))
        torch.testing.assert_close(smooth, likelihood(expected), atol=1e-5, rtol=1e-5)

    def test_blocks_give_what_the_whole_gives(self, values: Tensor, weights: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = mixtures_of(values).score(weights, likelihood)[0]
        monkeypatch.setattr(mixtures, "BLOCK_BYTES", 4 * 120 * 2)
        # products of float32
        torch.testing.assert_close(mixtures_of(values).score(weights, likelihood)[0], whole, atol=1e-5, rtol=1e-5)

    def test_no_block_exceeds_the_bound(self, values: Tensor, weights: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[int] = []

        def watched(outputs: Tensor) -> Tensor:
            seen.append(outputs.numel() * outputs.element_size())
            return likelihood(outputs)

        monkeypatch.setattr(mixtures, "BLOCK_BYTES", 4 * 120 * 3)
        mixtures_of(values).score(weights, watched)
        assert sum(seen) == 11 * 120 * 4
        assert max(seen) <= 4 * 120 * 3


class TestStorage:
    def test_outputs_too_large_to_widen_stay_as_they_are(self, values: Tensor, weights: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
        wide = mixtures_of(values)
        monkeypatch.setattr(mixtures, "RESIDENT_BYTES", 100)
        monkeypatch.setattr(mixtures, "COLUMNS_AT_ONCE", 17)
        narrow = mixtures_of(values)
        assert (wide.values.dtype, narrow.values.dtype) == (torch.float32, torch.float16)
        assert narrow.values.data_ptr() == values.data_ptr()
        torch.testing.assert_close(narrow.moments(), wide.moments())
        torch.testing.assert_close(narrow.score(weights, likelihood)[0], wide.score(weights, likelihood)[0])
        slopes = [
            torch.autograd.grad(each.differentiable_score(leaf, likelihood).sum(), leaf)[0]
            for each in (wide, narrow)
            for leaf in [weights.clone().requires_grad_()]
        ]
        torch.testing.assert_close(slopes[0], slopes[1], atol=1e-6, rtol=1e-5)

    def test_moments_are_those_of_centred_columns(self, values: Tensor) -> None:
        flat = values.double().flatten(1)
        centred = flat - flat.mean(0)
        torch.testing.assert_close(mixtures_of(values).moments(), centred @ centred.T / 120, atol=1e-6, rtol=1e-5)

    def test_moments_of_very_many_columns_come_from_some_of_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        many = torch.randn(4, 2000, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None, None]
        whole = mixtures_of(many).moments()
        monkeypatch.setattr(mixtures, "COLUMNS_AT_ONCE", 500)
        monkeypatch.setattr(mixtures, "MOMENT_COLUMNS", 4000)
        some = mixtures_of(many).moments()
        assert not torch.equal(some, whole)
        assert float((some - whole).abs().max()) < 0.1 * float(whole.diagonal().max())


class TestSlopes:
    def test_they_are_those_of_finite_differences(self, values: Tensor, weights: Tensor) -> None:
        leaf = weights[:3].clone().requires_grad_()
        mixed = mixtures_of(values)
        (slopes,) = torch.autograd.grad(mixed.differentiable_score(leaf, likelihood).sum(), leaf)
        step = 1e-2
        for trial in range(6):
            shift = torch.zeros(3, 6, dtype=torch.float64)
            shift[:, trial] = step
            up, down = (mixed.score(weights[:3] + sign * shift, likelihood)[0] for sign in (1, -1))
            torch.testing.assert_close(slopes[:, trial], (up - down) / (2 * step), atol=1e-3, rtol=1e-3)

    def test_without_a_gradient_none_is_taken(self, values: Tensor, weights: Tensor) -> None:
        assert not mixtures_of(values).differentiable_score(weights, likelihood).requires_grad
