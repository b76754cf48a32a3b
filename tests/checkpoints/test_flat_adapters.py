"""Adapters merged in place: low-rank task vectors stay low-rank."""

import json

import pytest
import torch
from safetensors.torch import save_file

from checkpoints import stretches
from checkpoints.flat import prepare_flat_merge
from checkpoints.groups import group_tensors
from checkpoints.layout import open_layout
from checkpoints.model_set import fit_model_set
from checkpoints.transforms.prepare import prepare_transform
from checkpoints.transforms.spec import Ties

BASE = {"emb.weight": (9, 6), "conv.weight": (5, 3, 2, 2), "lin.weight": (4, 6), "lin.bias": (4,), "head.weight": (2, 4)}
FACTORS = {
    "emb.lora_embedding_A": (2, 9), "emb.lora_embedding_B": (6, 2),
    "conv.lora_A.weight": (2, 3, 2, 2), "conv.lora_B.weight": (5, 2, 1, 1),
    "lin.lora_A.weight": (2, 6), "lin.lora_B.weight": (4, 2),
}  # fmt: skip


def random_tensors(shapes, seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}


def write_adapter(folder, shapes, seed, **config):
    folder.mkdir()
    tensors = random_tensors(shapes, seed)
    save_file({f"base_model.model.{name}": tensor for name, tensor in tensors.items()}, folder / "adapter_model.safetensors")
    document = {"peft_type": "LORA", "r": 2, "lora_alpha": 3, "bias": "none", **config}
    (folder / "adapter_config.json").write_text(json.dumps(document))
    return open_layout(folder)


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def models(request, tmp_path):
    """Two adapters of different reach, one of which saves a module, and one checkpoint of full weights."""
    base = random_tensors(BASE, 0, request.param)
    save_file(base, tmp_path / "base.safetensors")
    save_file(random_tensors(BASE, 5, request.param), tmp_path / "full.safetensors")
    linear = {name: shape for name, shape in FACTORS.items() if name.startswith("lin")}
    tuned = {
        "all": write_adapter(tmp_path / "all", FACTORS, 1),
        "some": write_adapter(tmp_path / "some", linear | {"head.weight": (2, 4)}, 2, use_rslora=True),
        "full": open_layout(tmp_path / "full.safetensors"),
    }
    return fit_model_set(open_layout(tmp_path / "base.safetensors"), tuned)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setitem(stretches.BLOCK, "cpu", 16)


@pytest.mark.parametrize("budget", [None, 0], ids=["resident", "streamed"])
@pytest.mark.parametrize("vector", [[0.5, -1.0, 0.25], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
@pytest.mark.parametrize("spec", [None, Ties(0.4)], ids=["none", "ties"])
def test_is_the_dense_sum(models, budget, vector, spec):
    transform = prepare_transform(spec, models) if spec else None
    flat = prepare_flat_merge(models, group_tensors(models.sizes), transform, budget=budget)
    flat.assemble(vector)
    for tensor, size in models.sizes.items():
        deltas = models.deltas(tensor, 0, size)
        if transform:
            deltas = transform.apply(tensor, 0, deltas)
        expected = models.base.flat(tensor).double() + torch.tensor(vector, dtype=torch.float64) @ deltas.double()
        assert torch.allclose(flat.views[tensor].flatten().double(), expected, rtol=1e-5, atol=1e-5)


def test_nothing_dense_is_held_for_an_adapter(models):
    flat = prepare_flat_merge(models, group_tensors(models.sizes))
    for stretch in flat.stretches:
        dense = {models.tuned[number] for number in stretch.dense}
        assert dense == ({"some", "full"} if stretch.out.data_ptr() == flat.views["head.weight"].data_ptr() else {"full"})
    assert {factor.number for stretch in flat.stretches for factor in stretch.factors} == {0, 1}


def test_tensors_that_no_adapter_reaches_are_written_once(tmp_path):
    save_file(random_tensors(BASE, 0), tmp_path / "base.safetensors")
    linear = {name: shape for name, shape in FACTORS.items() if name.startswith("lin")}
    tuned = {str(seed): write_adapter(tmp_path / str(seed), linear, seed) for seed in (1, 2)}
    models = fit_model_set(open_layout(tmp_path / "base.safetensors"), tuned)
    flat = prepare_flat_merge(models, group_tensors(models.sizes))
    reached = {stretch.out.untyped_storage().data_ptr() + 4 * stretch.out.storage_offset() for stretch in flat.stretches}
    start = flat.views["lin.weight"].data_ptr()
    assert min(reached) == start
    assert all(start <= place < start + flat.views["lin.weight"].nbytes for place in reached)
