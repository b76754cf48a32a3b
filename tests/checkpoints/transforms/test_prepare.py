import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from checkpoints.transforms.prepare import prepare_transform
from checkpoints.transforms.spec import Dare, Magnitude, NoTransform, Scope, Ties

TRANSFORMS = [Magnitude(0.3), Magnitude(0.3, Scope.TENSOR), Ties(0.2), Ties(0.5, Scope.TENSOR), Dare(0.5, 3)]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
@given(seed=st.integers(0, 99), block=st.integers(1, 50))
def test_result_does_not_depend_on_blocks(draw_vectors, in_blocks, transform, seed, block):
    vectors = draw_vectors(seed)
    prepared = prepare_transform(transform, vectors)
    whole, cut = in_blocks(prepared, vectors, 1000), in_blocks(prepared, vectors, block)
    assert all(torch.equal(whole[name], cut[name]) for name in vectors.sizes)


def test_no_transform_has_no_prepared_form(draw_vectors):
    assert prepare_transform(NoTransform(), draw_vectors(0)) is None


@given(seed=st.integers(0, 999), density=st.floats(0.05, 1.0))
def test_magnitude_keeps_its_density_of_each_task_vector(draw_vectors, in_blocks, seed, density):
    vectors = draw_vectors(seed)
    out = torch.cat(list(in_blocks(prepare_transform(Magnitude(density), vectors), vectors, 9).values()), dim=1)
    original = torch.cat(list(vectors.tensors.values()), dim=1)
    kept = out != 0
    assert torch.equal(out[kept], original[kept])
    assert kept.sum(dim=1).tolist() == [max(1, int(density * original.shape[1]))] * len(original)


def test_scope_model_may_empty_a_tensor_of_small_entries(draw_vectors, in_blocks):
    vectors = draw_vectors(0, sizes=(1000, 1000, 1000))  # each tensor's entries a tenth of those before
    out = in_blocks(prepare_transform(Magnitude(0.1), vectors), vectors, 1000)
    assert not out["layer.2"].any()
    by_tensor = in_blocks(prepare_transform(Magnitude(0.1, Scope.TENSOR), vectors), vectors, 1000)
    assert by_tensor["layer.2"].count_nonzero() == 300


def test_empty_tensors_are_no_obstacle(in_memory):
    vectors = in_memory({"empty": torch.empty(2, 0), "w": torch.tensor([[1.0, 2.0], [3.0, -4.0]])})
    prepared = prepare_transform(Ties(0.5, Scope.TENSOR), vectors)
    assert torch.equal(prepared.apply("w", 0, vectors.deltas("w", 0, 2)), torch.tensor([[0.0, 0.0], [0.0, -4.0]]))
