"""Merged adapters, loaded by PEFT itself and compared with the dense merge."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from checkpoints.adapter_export import cut_rank, stack_adapters
from checkpoints.errors import ExportError
from checkpoints.groups import group_tensors, spread_coefficients
from checkpoints.layout import open_layout
from checkpoints.model_set import fit_model_set


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        from transformers.pytorch_utils import Conv1D

        self.lin = nn.Linear(6, 4)
        self.proj = Conv1D(7, 5)  # weight 5 x 7: input first
        self.conv = nn.Conv2d(3, 5, 3)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(11, 6)
        self.block = Block()
        self.head = nn.Linear(4, 2)


OPTIONS = {
    "first": {"r": 2, "lora_alpha": 6, "target_modules": ["emb", "lin", "conv"], "modules_to_save": ["head"]},
    "second": {"r": 3, "use_rslora": True, "rank_pattern": {"lin": 1}, "target_modules": ["lin", "conv"]},
}
TRANSPOSED = {"r": 2, "fan_in_fan_out": True, "target_modules": ["proj"]}


def write_peft(path, net, seed, options):
    import peft

    torch.manual_seed(seed)
    model = peft.get_peft_model(net, peft.LoraConfig(**options))
    for name, parameter in model.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(path)
    return open_layout(path)


def fresh_net():
    torch.manual_seed(42)
    return Net()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    save_file(fresh_net().state_dict(), path)
    return open_layout(path)


@pytest.fixture(scope="module")
def models(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    return fit_model_set(base, {name: write_peft(folder / name, fresh_net(), 7, options) for name, options in OPTIONS.items()})


@pytest.fixture(scope="module")
def transposed(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("transposed")
    return fit_model_set(base, {str(seed): write_peft(folder / str(seed), fresh_net(), seed, TRANSPOSED) for seed in (1, 2)})


def at(models, vector, grouping="task"):
    return spread_coefficients(vector, group_tensors(models.sizes, grouping))


def load_and_merge(adapter, folder):
    """The weights that PEFT makes of an exported adapter on the same base, by the base's names."""
    import peft

    folder.mkdir()
    for name, content in adapter.files().items():
        (folder / name).write_bytes(content)
    model = peft.PeftModel.from_pretrained(fresh_net(), folder)
    return model.merge_and_unload().state_dict()


def dense_merge(models, coefficients):
    merged = {}
    for tensor, size in models.sizes.items():
        weights = torch.tensor(coefficients.of(tensor), dtype=torch.float64)
        total = models.base.flat(tensor).double() + weights @ models.deltas(tensor, 0, size).double()
        merged[tensor] = total.view(models.base.layout.entry(tensor).shape)
    return merged


def assert_same_weights(loaded, expected):
    assert set(loaded) == set(expected)
    for tensor, weights in expected.items():
        assert torch.allclose(loaded[tensor].double(), weights, rtol=1e-5, atol=1e-5), tensor


class TestStacked:
    @pytest.mark.parametrize("vector", [[0.5, -1.5], [1.0, 0.0]])
    def test_peft_makes_the_same_weights(self, models, tmp_path, vector):
        coefficients = at(models, vector)
        loaded = load_and_merge(stack_adapters(models, coefficients), tmp_path / "merged")
        assert_same_weights(loaded, dense_merge(models, coefficients))

    def test_transposed_layers(self, transposed, tmp_path):
        coefficients = at(transposed, [0.5, 2.0])
        loaded = load_and_merge(stack_adapters(transposed, coefficients), tmp_path / "merged")
        assert_same_weights(loaded, dense_merge(transposed, coefficients))

    def test_a_coefficient_for_each_group(self, models, tmp_path):
        coefficients = at(models, [0.5, 1.0, -1.0, 2.0], ["^block"])
        loaded = load_and_merge(stack_adapters(models, coefficients), tmp_path / "merged")
        assert_same_weights(loaded, dense_merge(models, coefficients))

    def test_rank_is_the_sum_of_those_that_have_a_share(self, models):
        merged = stack_adapters(models, at(models, [1.0, 1.0]))
        assert {module: factor.rank for module, factor in merged.factors.items()} == {"emb": 2, "block.lin": 3, "block.conv": 5}
        alone = stack_adapters(models, at(models, [0.0, 1.0]))
        assert {module: factor.rank for module, factor in alone.factors.items()} == {"block.lin": 1, "block.conv": 3}

    def test_export_can_be_read_again(self, models, base, tmp_path):
        coefficients = at(models, [0.5, -1.5])
        load_and_merge(stack_adapters(models, coefficients), tmp_path / "merged")
        layouts = {"merged": open_layout(tmp_path / "merged"), "first": models.sources["first"].tensors.layout}
        again = fit_model_set(base, layouts)
        for tensor, expected in dense_merge(models, coefficients).items():
            delta = again.deltas(tensor, 0, expected.numel())[0].double()
            assert torch.allclose(models.base.flat(tensor).double() + delta, expected.flatten(), atol=1e-5)

    def test_base_alone_is_refused(self, models):
        with pytest.raises(ExportError, match="base itself"):
            stack_adapters(models, at(models, [0.0, 0.0]))

    def test_full_weights_are_refused_by_name(self, base, models, tmp_path):
        save_file(Net().state_dict(), tmp_path / "full.safetensors")
        mixed = fit_model_set(base, {"lora": models.sources["first"].tensors.layout, "whole": open_layout(tmp_path / "full.safetensors")})
        with pytest.raises(ExportError, match="whole is no adapter"):
            stack_adapters(mixed, at(mixed, [1.0, 1.0]))


class TestCut:
    def test_error_is_that_of_the_best_approximation(self, models):
        merged = stack_adapters(models, at(models, [0.5, -1.5]))
        cut = cut_rank(merged, 2)
        for module, factor in merged.factors.items():
            dense = factor.left.double() @ factor.right.double()
            approximation = cut.factors[module].left.double() @ cut.factors[module].right.double()
            singular = torch.linalg.svdvals(dense)
            best = float(singular[2:].norm() / singular.norm())
            assert cut.errors[module] == pytest.approx(best, abs=1e-7)
            assert float((dense - approximation).norm() / dense.norm()) == pytest.approx(best, abs=1e-6)
            assert cut.factors[module].rank == 2

    def test_enough_rank_loses_nothing(self, models, tmp_path):
        coefficients = at(models, [0.5, -1.5])
        cut = cut_rank(stack_adapters(models, coefficients), 5)
        assert max(cut.errors.values()) < 1e-7
        assert_same_weights(load_and_merge(cut, tmp_path / "merged"), dense_merge(models, coefficients))

    def test_rank_below_one_is_refused(self, models):
        with pytest.raises(ExportError, match="rank"):
            cut_rank(stack_adapters(models, at(models, [1.0, 1.0])), 0)
