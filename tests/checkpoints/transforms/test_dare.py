import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from checkpoints.transforms.dare import Dropped, drop_mask
from checkpoints.transforms.spec import Dare


class TestDropMask:
    @given(start=st.integers(0, 5000), size=st.integers(1, 200))
    def test_is_a_function_of_the_element_alone(self, start, size):
        whole = drop_mask(0.5, 7, 1, "w", 0, 5200)
        assert torch.equal(drop_mask(0.5, 7, 1, "w", start, size), whole[start : start + size])

    @pytest.mark.parametrize(("seed", "index", "tensor"), [(8, 1, "w"), (7, 2, "w"), (7, 1, "v")])
    def test_other_seed_index_or_tensor_draws_anew(self, seed, index, tensor):
        assert not torch.equal(drop_mask(0.5, 7, 1, "w", 0, 1000), drop_mask(0.5, seed, index, tensor, 0, 1000))

    @pytest.mark.parametrize("drop", [0.1, 0.5, 0.9])
    def test_share_kept(self, drop):
        size = 100_000
        kept = int(drop_mask(drop, 0, 0, "w", 0, size).sum())
        assert abs(kept - size * (1 - drop)) < 5 * (size * drop * (1 - drop)) ** 0.5

    def test_the_same_on_every_machine(self):
        # pinned: a merge that names its seed must be found again by a later version
        assert drop_mask(0.5, 0, 0, "w", 0, 16).int().tolist() == [0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 1]


class TestDropped:
    def test_expectation_over_seeds_is_the_task_vector(self):
        deltas = torch.tensor([[1.0, -2.0, 0.5], [4.0, 0.0, -1.0]])
        draws = torch.stack([Dropped(0.7, seed).apply("w", 0, deltas) for seed in range(4000)]).double()
        error = (draws.mean(dim=0) - deltas).abs()
        assert bool((error <= 5 * draws.std(dim=0) / 4000**0.5 + 1e-9).all())

    def test_kept_entries_are_rescaled(self):
        deltas = torch.ones(2, 1000)
        assert set(Dropped(0.75, 0).apply("w", 0, deltas).unique().tolist()) == {0.0, 4.0}

    def test_no_drop_is_the_identity(self):
        deltas = torch.randn(2, 50)
        assert torch.equal(Dropped(0.0, 0).apply("w", 3, deltas), deltas)


@pytest.mark.parametrize(("drop", "seed"), [(1.0, 0), (-0.1, 0), (0.5, -1)])
def test_numbers_outside_their_range_cannot_be_built(drop, seed):
    with pytest.raises(ValueError, match="drop|seed"):
        Dare(drop, seed)
