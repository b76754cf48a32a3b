import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from checkpoints.transforms import threshold
from checkpoints.transforms.threshold import find_cut


def sorted_cut(vectors, names, density):
    """The k-th largest magnitude of every task vector, by sorting all of it."""
    magnitudes = torch.cat([vectors.tensors[name] for name in names], dim=1).abs()
    keep = max(1, int(density * magnitudes.shape[1]))
    last = magnitudes.sort(dim=1, descending=True).values[:, keep - 1]
    return last, bool(((magnitudes >= last[:, None]).sum(dim=1) > keep).any())


@pytest.fixture
def counting(monkeypatch):
    """Take the road of large pools on small ones."""
    monkeypatch.setattr(threshold, "_DIRECT", 8)
    monkeypatch.setattr(threshold, "_BLOCK", 1000)
    return monkeypatch


class TestSmallPool:
    @given(seed=st.integers(0, 999), density=st.floats(0.01, 0.99), quantised=st.booleans())
    def test_is_the_sorted_one(self, draw_vectors, seed, density, quantised):
        vectors = draw_vectors(seed, quantised=quantised)
        cut = find_cut(vectors, tuple(vectors.sizes), density)
        expected, ties = sorted_cut(vectors, vectors.sizes, density)
        assert torch.equal(cut.thresholds, expected)
        assert cut.cuts_ties == ties

    def test_whole_density_keeps_everything(self, draw_vectors):
        vectors = draw_vectors(0)
        assert torch.equal(find_cut(vectors, tuple(vectors.sizes), 1.0).thresholds, torch.zeros(3))

    def test_keeps_at_least_one(self, draw_vectors):
        vectors = draw_vectors(0, sizes=(5,))
        assert torch.equal(find_cut(vectors, ("layer.0",), 0.01).thresholds, vectors.tensors["layer.0"].abs().amax(dim=1))


class TestCounting:
    @pytest.mark.parametrize("quantised", [False, True])
    @pytest.mark.parametrize("density", [0.001, 0.2, 0.5, 0.97, 0.9999])
    def test_is_the_sorted_one(self, counting, draw_vectors, density, quantised):
        vectors = draw_vectors(1, sizes=(9_000, 1, 4_000), quantised=quantised)
        cut = find_cut(vectors, tuple(vectors.sizes), density)
        expected, ties = sorted_cut(vectors, vectors.sizes, density)
        assert torch.equal(cut.thresholds, expected)
        assert cut.cuts_ties == ties

    @pytest.mark.parametrize("density", [0.05, 0.6])
    def test_survives_a_sample_that_misleads(self, counting, draw_vectors, density):
        # one run at one place, and next to no margin: the bracket misses, the answer must not
        counting.setattr(threshold, "_RUNS", 1)
        counting.setattr(threshold, "_RUN", 8)
        counting.setattr(threshold, "_MARGIN", 0.0)
        vectors = draw_vectors(2, sizes=(20_000, 3_000))
        cut = find_cut(vectors, tuple(vectors.sizes), density)
        assert torch.equal(cut.thresholds, sorted_cut(vectors, vectors.sizes, density)[0])

    def test_survives_a_histogram_coarser_than_the_patterns(self, counting, draw_vectors):
        counting.setattr(threshold, "_BINS", 16)
        vectors = draw_vectors(3, sizes=(5_000,))
        assert torch.equal(find_cut(vectors, ("layer.0",), 0.3).thresholds, sorted_cut(vectors, ["layer.0"], 0.3)[0])

    def test_does_not_depend_on_the_number_of_threads(self, counting, draw_vectors):
        vectors = draw_vectors(4, sizes=(30_000,))
        counting.setattr(torch, "get_num_threads", lambda: 3)
        many = find_cut(vectors, ("layer.0",), 0.2)
        counting.setattr(torch, "get_num_threads", lambda: 1)
        assert torch.equal(many.thresholds, find_cut(vectors, ("layer.0",), 0.2).thresholds)

    def test_task_vector_that_is_mostly_zero(self, counting, in_memory):
        deltas = torch.zeros(2, 10_000)
        deltas[:, 17] = torch.tensor([1.0, -2.0])
        cut = find_cut(in_memory({"w": deltas}), ("w",), 0.2)
        assert torch.equal(cut.thresholds, torch.zeros(2))
        assert cut.cuts_ties
