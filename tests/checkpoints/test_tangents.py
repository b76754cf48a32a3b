"""Merges of tangent adapters: the direction that coefficients give, and the one adapter that it is written as."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from checkpoints.errors import ExportError
from checkpoints.groups import group_tensors, spread_coefficients
from checkpoints.layout import open_layout
from checkpoints.linearised import read_linearised
from checkpoints.model_set import ModelSet, fit_model_set
from checkpoints.tangent_export import check_weights, merge_tangent
from checkpoints.tangents import is_tangent, prepare_tangent_merge
from checkpoints.transforms.prepare import prepare_transform
from checkpoints.transforms.spec import NoTransform, Ties
from tests.tangent_set import RANK, write_adapter, write_tangents

VECTOR = (0.4, -0.7)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3), nn.Linear(16, 5)


@pytest.fixture
def models(tmp_path: Path) -> ModelSet:
    torch.manual_seed(0)
    save_file(Net().state_dict(), tmp_path / "base.safetensors")
    tuned = write_tangents(Net(), tmp_path / "base.safetensors", tmp_path, ("one", "two"))
    return fit_model_set(open_layout(tmp_path / "base.safetensors"), {name: open_layout(Path(path)) for name, path in tuned.items()})


def summed(models: ModelSet, vector: tuple[float, ...] = VECTOR) -> dict[str, torch.Tensor]:
    """sum c_n v_n by tensor, from the task vectors themselves."""
    weights = torch.tensor(vector)
    shapes = {name: models.base.layout.entry(name).shape for name in models.sizes}
    return {name: (weights @ models.deltas(name, 0, size)).view(shapes[name]) for name, size in models.sizes.items()}


class TestDirection:
    def test_is_the_scaled_sum_of_the_task_vectors(self, models: ModelSet) -> None:
        merge = prepare_tangent_merge(models, group_tensors(models.sizes))
        merge.assemble(VECTOR)
        assert sorted(merge.tangents) == ["first.weight", "second.weight"] == sorted(merge.sums)
        for name, tangent in merge.tangents.items():
            torch.testing.assert_close(tangent, summed(models)[name], rtol=1e-5, atol=1e-6)

    def test_is_that_of_transformed_task_vectors_where_there_is_a_transform(self, models: ModelSet) -> None:
        transform = prepare_transform(Ties(0.3), models)
        merge = prepare_tangent_merge(models, group_tensors(models.sizes), transform)
        merge.assemble(VECTOR)
        for name, tangent in merge.tangents.items():
            deltas = transform.apply(name, 0, models.deltas(name, 0, models.sizes[name]))
            torch.testing.assert_close(tangent.flatten(), torch.tensor(VECTOR) @ deltas)

    def test_leaves_the_base_as_it_is(self, models: ModelSet) -> None:
        merge = prepare_tangent_merge(models, group_tensors(models.sizes))
        merge.assemble(VECTOR)
        assert all(torch.equal(view, models.base.tensor(name)) for name, view in merge.views.items())


class TestExport:
    @pytest.mark.parametrize("grouping", ["task", ("^first",)])
    def test_is_one_adapter_of_the_same_rank_and_start(self, models: ModelSet, tmp_path: Path, grouping: str) -> None:
        groups = group_tensors(models.sizes, grouping)
        vector = tuple(0.1 * number for number in range(1, 1 + 2 * len(groups.labels)))
        coefficients = spread_coefficients(vector, groups)
        merged = merge_tangent(models, coefficients, NoTransform())
        found = read_linearised(write_adapter(merged, tmp_path / "merged"))
        start = read_linearised(tmp_path / "tangent-one")
        assert (found.rank, found.metadata.a0, found.metadata.kind) == (RANK, start.metadata.a0, "tangent")
        for tensor in ("first.weight", "second.weight"):
            layer = tensor.removesuffix(".weight")
            delta = found.scale * found.b[layer].flatten(1) @ found.a[layer].flatten(1)
            expected = summed(models, coefficients.of(tensor))[tensor].flatten(1)
            torch.testing.assert_close(delta, expected, rtol=1e-4, atol=1e-5)

    def test_holds_no_transform(self, models: ModelSet) -> None:
        coefficients = spread_coefficients(VECTOR, group_tensors(models.sizes))
        with pytest.raises(ExportError, match="leaves no adapter of one A0"):
            merge_tangent(models, coefficients, Ties(0.3))

    def test_has_no_weights_in_full(self, models: ModelSet) -> None:
        assert is_tangent(models)
        with pytest.raises(ExportError, match="ask for the adapter"):
            check_weights(models)
