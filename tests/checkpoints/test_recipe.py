"""Recipes are read back and computed here as mergekit defines their fields, tensor by tensor."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from checkpoints.errors import ExportError
from checkpoints.groups import group_tensors, spread_coefficients
from checkpoints.layout import open_layout
from checkpoints.model_set import fit_model_set
from checkpoints.recipe import write_recipe
from checkpoints.transforms.prepare import prepare_transform
from checkpoints.transforms.spec import Dare, Magnitude, NoTransform, Scope, Ties

SHAPES = {"layers.1.w": (6, 5), "layers.1.w_scale": (6,), "layers.11.w": (6, 5), "norm.weight": (5,)}


def draw(seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in SHAPES.items()}


def write_model(folder, tensors):
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return open_layout(folder)


def build(folder, dtype=torch.float32, extra_base=None, extra_tuned=None, private=()):
    base = write_model(folder / "base", draw(0, dtype) | (extra_base or {}))
    tuned = {
        name: write_model(folder / name, draw(seed, dtype) | (extra_tuned or {})) for seed, name in enumerate(("a", "b", "c"), start=1)
    }
    return fit_model_set(base, tuned, private)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return build(tmp_path_factory.mktemp("models"))


def at(models, vector, grouping="task"):
    return spread_coefficients(vector, group_tensors(models.sizes, grouping))


def setting(value, tensor):
    """A mergekit parameter for one tensor: a number, or the first entry whose filter is part of the name."""
    if not isinstance(value, list):
        return value
    return next(entry["value"] for entry in value if entry.get("filter", "") in tensor)


def run_recipe(recipe, models):
    """What mergekit makes of a recipe: task_arithmetic or ties, per its documentation."""
    document, tensors = yaml.safe_load(recipe), {source.tensors.layout.root.resolve(): source.tensors for source in models.sources.values()}
    shared = document["parameters"]
    merged = {}
    for tensor in models.sizes:
        base = models.base.tensor(tensor).to(getattr(torch, document["dtype"]))
        deltas = torch.stack([tensors[Path(entry["model"])].tensor(tensor).to(base.dtype) - base for entry in document["models"]])
        weights = torch.tensor([setting(entry["parameters"]["weight"], tensor) for entry in document["models"]], dtype=base.dtype)
        weights = weights.view(-1, *(1 for _ in base.shape))
        if document["merge_method"] == "ties":
            deltas = torch.stack([keep_largest(delta, shared["density"]) for delta in deltas]) * weights
            mask = deltas.sign() == (deltas.sum(dim=0) >= 0).float() * 2 - 1
            divisor = (weights * mask).sum(dim=0)
            total = (deltas * mask).sum(dim=0) / torch.where(divisor == 0, 1.0, divisor)
        else:
            total = (deltas * weights).sum(dim=0)
        merged[tensor] = (base + total * shared.get("lambda", 1.0)).to(getattr(torch, document["out_dtype"]))
    return merged


def keep_largest(delta, density):
    keep = max(1, int(density * delta.numel()))
    mask = torch.zeros(delta.numel())
    mask[delta.abs().flatten().argsort(descending=True)[:keep]] = 1
    return delta * mask.view(delta.shape)


def expected(models, coefficients, transform):
    prepared, merged = prepare_transform(transform, models), {}
    for tensor, size in models.sizes.items():
        deltas = models.deltas(tensor, 0, size)
        deltas = prepared.apply(tensor, 0, deltas) if prepared else deltas
        total = torch.tensor(coefficients.of(tensor), dtype=torch.float64) @ deltas.double()
        merged[tensor] = (models.base.flat(tensor).double() + total).view(models.base.layout.entry(tensor).shape)
    return merged


def assert_same(models, coefficients, transform):
    made = run_recipe(write_recipe(models, coefficients, transform), models)
    for tensor, weights in expected(models, coefficients, transform).items():
        assert torch.allclose(made[tensor].double(), weights, rtol=1e-6, atol=1e-6)


class TestTaskArithmetic:
    def test_one_coefficient_a_model(self, models):
        assert_same(models, at(models, [0.3, -1.0, 0.7]), NoTransform())

    @pytest.mark.parametrize("grouping", ["block", ["w$", "norm"]])
    def test_groups_become_filters(self, models, grouping):
        groups = group_tensors(models.sizes, grouping)
        vector = torch.linspace(-1, 1, 3 * len(groups.labels)).tolist()
        assert_same(models, spread_coefficients(vector, groups), NoTransform())

    def test_document(self, models):
        document = yaml.safe_load(write_recipe(models, at(models, [0.3, -1.0, 0.7]), NoTransform()))
        assert document["merge_method"] == "task_arithmetic"
        assert document["parameters"] == {"normalize": False, "rescale": False, "int8_mask": False}
        assert document["base_model"] == str(models.base.layout.root)
        assert [entry["parameters"]["weight"] for entry in document["models"]] == [0.3, -1.0, 0.7]
        assert (document["dtype"], document["out_dtype"]) == ("float64", "float32")

    def test_half_precision_is_computed_in_full(self, tmp_path):
        models = build(tmp_path, torch.bfloat16)
        document = yaml.safe_load(write_recipe(models, at(models, [1.0, 1.0, 1.0]), NoTransform()))
        assert (document["dtype"], document["out_dtype"]) == ("float64", "bfloat16")

    @pytest.mark.parametrize("transform", [Dare(0.0), Magnitude(1.0)], ids=str)
    def test_transforms_that_change_nothing(self, models, transform):
        assert_same(models, at(models, [0.3, -1.0, 0.7]), transform)


class TestTies:
    @pytest.mark.parametrize("transform", [Ties(0.4, Scope.TENSOR), Ties(1.0)], ids=str)
    def test_equal_coefficients_become_lambda(self, models, transform):
        assert_same(models, at(models, [0.8, 0.8, 0.8]), transform)

    @pytest.mark.parametrize(
        ("vector", "transform", "reason"),
        [
            ([0.8, 0.8, 0.7], Ties(0.4, Scope.TENSOR), "equal coefficients"),
            ([0.8, 0.8, 0.8], Ties(0.4), "whole model"),
        ],
        ids=["unequal", "model scope"],
    )
    def test_refused_where_it_means_something_else(self, models, vector, transform, reason):
        with pytest.raises(ExportError, match=reason):
            write_recipe(models, at(models, vector), transform)

    def test_refused_where_a_tie_falls_on_a_threshold(self, tmp_path):
        base = write_model(tmp_path / "base", {"w": torch.zeros(10)})
        tuned = {name: write_model(tmp_path / name, {"w": torch.ones(10) * scale}) for name, scale in (("a", 1.0), ("b", 2.0))}
        models = fit_model_set(base, tuned)
        with pytest.raises(ExportError, match="arbitrary"):
            write_recipe(models, at(models, [1.0, 1.0]), Ties(0.5, Scope.TENSOR))


class TestRefusals:
    @pytest.mark.parametrize(("transform", "reason"), [(Dare(0.5), "random"), (Magnitude(0.5), "magnitude")], ids=["dare", "magnitude"])
    def test_transforms_it_does_not_have(self, models, transform, reason):
        with pytest.raises(ExportError, match=reason):
            write_recipe(models, at(models, [1.0, 1.0, 1.0]), transform)

    def test_private_heads(self, tmp_path):
        models = build(tmp_path, extra_base={"head": torch.ones(2)}, extra_tuned={"head": torch.ones(3)}, private=["head"])
        with pytest.raises(ExportError) as caught:
            write_recipe(models, at(models, [1.0, 1.0, 1.0]), NoTransform())
        assert sum("own task" in fault for fault in caught.value.faults) == 3

    def test_integers(self, tmp_path):
        steps = {"steps": torch.tensor([1, 2])}
        models = build(tmp_path, extra_base=steps, extra_tuned=steps)
        with pytest.raises(ExportError, match="integers in steps"):
            write_recipe(models, at(models, [1.0, 1.0, 1.0]), NoTransform())

    def test_mixed_dtypes(self, tmp_path):
        half = {"half": torch.ones(2, dtype=torch.float16)}
        models = build(tmp_path, extra_base=half, extra_tuned=half)
        with pytest.raises(ExportError, match="F16, F32"):
            write_recipe(models, at(models, [1.0, 1.0, 1.0]), NoTransform())

    def test_files_without_a_configuration(self, tmp_path):
        for seed, name in enumerate(("base", "a", "b")):
            save_file(draw(seed, torch.float32), tmp_path / f"{name}.safetensors")
        tuned = {name: open_layout(tmp_path / f"{name}.safetensors") for name in ("a", "b")}
        models = fit_model_set(open_layout(tmp_path / "base.safetensors"), tuned)
        with pytest.raises(ExportError) as caught:
            write_recipe(models, at(models, [1.0, 1.0]), NoTransform())
        assert len(caught.value.faults) == 3

    def test_paths_that_it_reads_otherwise(self, tmp_path):
        models = build(tmp_path / "user@host")
        with pytest.raises(ExportError, match="revision"):
            write_recipe(models, at(models, [1.0, 1.0, 1.0]), NoTransform())

    def test_adapters(self, models, tmp_path):
        folder = tmp_path / "lora"
        folder.mkdir()
        factors = {"lora_A.weight": torch.ones(1, 5), "lora_B.weight": torch.ones(6, 1)}
        save_file({f"base_model.model.proj.{name}": tensor for name, tensor in factors.items()}, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 1, "lora_alpha": 1}))
        base = write_model(tmp_path / "base", {"proj.weight": torch.ones(6, 5)})
        mixed = fit_model_set(
            base, {"lora": open_layout(folder), "full": write_model(tmp_path / "full", {"proj.weight": torch.zeros(6, 5)})}
        )
        with pytest.raises(ExportError, match="lora is an adapter"):
            write_recipe(mixed, at(mixed, [1.0, 1.0]), NoTransform())
