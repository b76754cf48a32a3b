import torch
from hypothesis import given
from hypothesis import strategies as st

from checkpoints import gram as module
from checkpoints.gram import gram
from checkpoints.groups import group_tensors
from checkpoints.transforms.trim import Trimmed


class Vectors:
    def __init__(self, seed, count=3):
        generator = torch.Generator().manual_seed(seed)
        shapes = {"layers.0.w": 30, "layers.1.w": 21, "layers.1.b": 4}
        self.rows = {name: torch.randn(count, size, generator=generator) for name, size in shapes.items()}
        self.tuned = tuple(f"tuned{number}" for number in range(count))
        self.sizes = shapes

    def deltas(self, tensor, start, stop):
        return self.rows[tensor][:, start:stop].clone()


@given(seed=st.integers(0, 99), ends=st.lists(st.floats(-2, 2), min_size=6, max_size=6))
def test_gives_the_length_of_a_step(seed, ends):
    vectors = Vectors(seed)
    groups = group_tensors(vectors.sizes, "block")
    step = torch.tensor(ends, dtype=torch.float64)
    moved = [step.reshape(3, 2)[:, groups.members[name]] @ rows.double() for name, rows in vectors.rows.items()]
    matrix = gram(vectors, groups)
    assert matrix.shape == (6, 6)
    assert torch.allclose(step @ matrix @ step, torch.cat(moved).square().sum(), rtol=1e-9, atol=1e-9)


def test_does_not_depend_on_blocks(monkeypatch):
    vectors = Vectors(0)
    groups = group_tensors(vectors.sizes)
    whole = gram(vectors, groups)
    monkeypatch.setattr(module, "BLOCK", 7)
    assert torch.allclose(gram(vectors, groups), whole, rtol=1e-12)


def test_of_transformed_task_vectors():
    vectors = Vectors(1)
    trimmed = Trimmed({name: torch.full((3,), 1.0) for name in vectors.sizes}, cuts_ties=False)
    kept = torch.cat([trimmed.apply(name, 0, rows) for name, rows in vectors.rows.items()], dim=1).double()
    assert torch.allclose(gram(vectors, group_tensors(vectors.sizes), trimmed), kept @ kept.T)
