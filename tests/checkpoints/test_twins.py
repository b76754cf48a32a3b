import torch

from checkpoints.twins import find_twins


class Vectors:
    """Task vectors in memory, counting what is read of them."""

    def __init__(self, **vectors):
        self.vectors = {name: torch.as_tensor(values, dtype=torch.float32) for name, values in vectors.items()}
        self.tuned = tuple(vectors)
        self.sizes = {"w": len(next(iter(self.vectors.values())))}
        self.read = 0

    def deltas(self, tensor, start, stop):
        self.read += stop - start
        return torch.stack([vector[start:stop] for vector in self.vectors.values()])


def test_vectors_that_differ_are_told_apart_by_a_sample():
    vectors = Vectors(a=torch.arange(1, 1_000_001), b=torch.arange(2, 1_000_002))
    assert find_twins(vectors) == []
    assert vectors.read < 10_000


def test_a_late_difference_is_found():
    late = torch.zeros(2_000_000)
    late[-1] = 1
    assert find_twins(Vectors(a=late, b=2 * late)) == []


def test_every_twin_is_named():
    found = find_twins(Vectors(a=torch.zeros(5), b=torch.ones(5), c=torch.ones(5)))
    assert len(found) == 2
    assert found[0].startswith("a: holds the base's own weights") and found[1].startswith("b and c hold the same weights")
