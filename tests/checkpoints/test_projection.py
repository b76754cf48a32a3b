"""The chain rule from merged weights to coefficients, against automatic differentiation."""

import pytest
import torch

from checkpoints import projection as module
from checkpoints.groups import group_tensors
from checkpoints.projection import project
from checkpoints.transforms.trim import Trimmed
from tests.checkpoints.test_gram import Vectors


def slopes_by_hand(vectors, groups, gradients, transform=None):
    """Of Σ gradient · Σ c_n v_n, which is linear: automatic differentiation gives its slope."""
    c = torch.zeros(3, len(groups.labels), dtype=torch.float64, requires_grad=True)
    total = torch.zeros((), dtype=torch.float64)
    for name, gradient in gradients.items():
        rows = vectors.rows[name] if transform is None else transform.apply(name, 0, vectors.rows[name])
        total = total + (c[:, groups.members[name]] @ rows.double() * gradient.flatten().double()).sum()
    return torch.autograd.grad(total, c)[0].flatten()


@pytest.fixture
def gradients():
    draw = torch.Generator().manual_seed(9)
    return {"layers.0.w": torch.randn(5, 6, generator=draw), "layers.1.w": torch.randn(21, generator=draw)}


@pytest.mark.parametrize("grouping", ["task", "block"])
def test_inner_products_within_every_group(gradients, grouping):
    vectors = Vectors(0)
    groups = group_tensors(vectors.sizes, grouping)
    torch.testing.assert_close(project(gradients, vectors, groups), slopes_by_hand(vectors, groups, gradients), rtol=1e-5, atol=1e-5)


def test_of_transformed_task_vectors(gradients):
    vectors = Vectors(1)
    groups = group_tensors(vectors.sizes)
    trimmed = Trimmed({name: torch.full((3,), 1.0) for name in vectors.sizes}, cuts_ties=False)
    found = project(gradients, vectors, groups, trimmed)
    torch.testing.assert_close(found, slopes_by_hand(vectors, groups, gradients, trimmed), rtol=1e-5, atol=1e-5)


def test_does_not_depend_on_blocks(gradients, monkeypatch):
    vectors = Vectors(2)
    groups = group_tensors(vectors.sizes, "block")
    whole = project(gradients, vectors, groups)
    monkeypatch.setattr(module, "BLOCK", 7)
    torch.testing.assert_close(project(gradients, vectors, groups), whole, rtol=1e-6, atol=1e-6)
