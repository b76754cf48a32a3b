import torch

from checkpoints.transforms.trim import Trimmed, trim


class TestTrim:
    def test_keeps_from_the_threshold_on(self):
        deltas = torch.tensor([[0.1, -0.5, 0.5, 2.0], [3.0, -4.0, 0.0, 5.0]])
        expected = torch.tensor([[0.0, -0.5, 0.5, 2.0], [0.0, -4.0, 0.0, 5.0]])
        assert torch.equal(trim(deltas, torch.tensor([0.5, 4.0])), expected)

    def test_prepared_form_has_thresholds_per_tensor(self):
        trimmed = Trimmed({"a": torch.tensor([1.0]), "b": torch.tensor([3.0])}, cuts_ties=False)
        deltas = torch.tensor([[2.0, -3.0]])
        assert torch.equal(trimmed.apply("a", 0, deltas), deltas)
        assert torch.equal(trimmed.apply("b", 0, deltas), torch.tensor([[0.0, -3.0]]))
