import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from checkpoints.transforms.prepare import prepare_transform
from checkpoints.transforms.spec import Scope, Ties
from checkpoints.transforms.ties import agree


def published_ties(flat, density):
    """TIES of N flat task vectors, entry by entry in float64, as the paper words it. Returns the merged task vector."""
    count, size = flat.shape
    keep = max(1, int(density * size))
    trimmed = flat.double()
    for row in range(count):
        last = flat[row].abs().sort(descending=True).values[keep - 1]
        trimmed[row, flat[row].abs() < last] = 0.0
    merged = torch.zeros(size, dtype=torch.float64)
    for entry in range(size):
        values = trimmed[:, entry]
        sign = 1.0 if values.sum() >= 0 else -1.0
        agreeing = [float(value) for value in values if value * sign > 0]
        merged[entry] = sum(agreeing) / len(agreeing) if agreeing else 0.0
    return merged


class TestAgainstThePaper:
    @given(seed=st.integers(0, 999), density=st.sampled_from([0.1, 0.2, 0.5, 1.0]), count=st.integers(1, 5))
    def test_rows_add_up_to_ties(self, draw_vectors, in_blocks, seed, density, count):
        vectors = draw_vectors(seed, count=count)
        out = in_blocks(prepare_transform(Ties(density), vectors), vectors, 16)
        merged = torch.cat(list(out.values()), dim=1).double().sum(dim=0)
        expected = published_ties(torch.cat(list(vectors.tensors.values()), dim=1), density)
        assert torch.allclose(merged, expected, rtol=1e-6, atol=0)

    @given(seed=st.integers(0, 999))
    def test_scope_tensor_is_ties_of_each_tensor(self, draw_vectors, in_blocks, seed):
        vectors = draw_vectors(seed)
        out = in_blocks(prepare_transform(Ties(0.3, Scope.TENSOR), vectors), vectors, 16)
        for name, rows in out.items():
            expected = published_ties(vectors.tensors[name], 0.3)
            assert torch.allclose(rows.double().sum(dim=0), expected, rtol=1e-6, atol=0)


class TestAgree:
    def test_sum_elects_and_the_agreeing_share(self):
        trimmed = torch.tensor([[3.0, -1.0], [-1.0, -3.0], [2.0, 3.0]])
        assert torch.equal(agree(trimmed), torch.tensor([[1.5, -0.5], [0.0, -1.5], [1.0, 0.0]]))

    def test_sum_of_zero_elects_plus(self):
        assert torch.equal(agree(torch.tensor([[2.0], [-2.0]])), torch.tensor([[2.0], [0.0]]))

    def test_tiny_entries_do_not_vanish(self):
        tiny = torch.full((2, 1), -1e-38)
        assert torch.equal(agree(tiny), tiny / 2)

    def test_leaves_its_argument_alone(self):
        trimmed = torch.tensor([[1.0], [-2.0]])
        agree(trimmed)
        assert torch.equal(trimmed, torch.tensor([[1.0], [-2.0]]))


@pytest.mark.parametrize("density", [0.0, -0.1, 1.1, float("nan")])
def test_density_outside_its_range_cannot_be_built(density):
    with pytest.raises(ValueError, match="density"):
        Ties(density)
