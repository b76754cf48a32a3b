"""Modules whose weights live elsewhere."""

import pytest
import torch
from torch import nn

from app.domain.errors import RefusedError
from workers.evaluators.module_binding import bind_module, plan_binding
from workers.evaluators.naming import Naming
from workers.evaluators.network import Network

CPU = torch.device("cpu")
FAMILY = Naming("bert", lambda name: name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"))


def network(module, **fields):
    return Network(module.eval().requires_grad_(False), module, "features", **fields)


def shapes(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def bound(module, tensors, **fields):
    binding = plan_binding(network(module, **fields), shapes(tensors))
    bind_module(module, binding, tensors, CPU)
    return binding


def faults(module, tensors, **fields):
    with pytest.raises(RefusedError) as caught:
        plan_binding(network(module, **fields), shapes(tensors))
    return [str(fault) for fault in caught.value.faults]


class TestBinding:
    def test_writing_a_tensor_changes_the_module(self):
        module = nn.Linear(3, 2)
        tensors = {"weight": torch.randn(2, 3), "bias": torch.randn(2)}
        bound(module, tensors)
        x = torch.randn(4, 3)
        tensors["weight"].mul_(2)
        torch.testing.assert_close(module(x), x @ tensors["weight"].T + tensors["bias"])
        assert module.weight.data_ptr() == tensors["weight"].data_ptr()

    def test_running_statistics_are_bound_and_counters_too(self):
        module = nn.BatchNorm1d(3)
        tensors = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        tensors["running_mean"] += 5
        bound(module, tensors)
        torch.testing.assert_close(module(torch.full((2, 3), 5.0)), torch.zeros(2, 3))
        assert module.running_mean.data_ptr() == tensors["running_mean"].data_ptr()

    def test_tied_weights_stay_tied_whichever_name_is_stored(self):
        for stored in ("first.weight", "second.weight"):
            module = nn.ModuleDict({"first": nn.Linear(3, 3, bias=False), "second": nn.Linear(3, 3, bias=False)})
            module["second"].weight = module["first"].weight
            tensor = torch.randn(3, 3)
            bound(module, {stored: tensor})
            assert module["first"].weight.data_ptr() == module["second"].weight.data_ptr() == tensor.data_ptr()

    def test_recurrent_layers_use_what_is_bound(self):
        module, other = nn.LSTM(3, 4), nn.LSTM(3, 4)
        bound(module, {name: tensor.clone() for name, tensor in other.state_dict().items()})
        x = torch.randn(5, 1, 3)
        torch.testing.assert_close(module(x)[0], other(x)[0])

    def test_buffers_that_state_dicts_leave_out_need_no_tensor_but_read_one(self):
        module = nn.Module()
        module.register_buffer("places", torch.arange(3), persistent=False)
        module.weight = nn.Parameter(torch.ones(2))
        assert bound(module, {"weight": torch.ones(2)}).optional == ()
        binding = bound(module, {"weight": torch.ones(2), "places": torch.arange(3) + 1})
        assert module.places.tolist() == [1, 2, 3]
        assert binding.optional == ("places",)


class TestFaults:
    def test_names_everything_that_does_not_fit(self):
        module = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
        tensors = {"0.weight": torch.ones(2, 4), "0.bias": torch.ones(2), "other": torch.ones(1), "more": torch.ones(1)}
        assert faults(module, tensors) == [
            "architecture: the base lacks 2 tensors that the module has: 1.weight, 1.bias",
            "architecture: the module lacks 2 tensors that the base has: other, more",
            "architecture: 0.weight: the module wants [2, 3], the base has [2, 4]",
        ]

    def test_long_lists_are_cut(self):
        module = nn.ModuleList(nn.Linear(1, 1) for _ in range(15))
        assert "0.weight" in faults(module, {})[0]
        assert "and 10 more" in faults(module, {})[0]


class TestFamilies:
    def backbone(self):
        return nn.ModuleDict({"layer": nn.ModuleList([nn.Linear(2, 2, bias=False)])})

    def test_a_prefix_more_or_less_means_the_same(self):
        for prefix in ("", "bert."):
            tensor = torch.randn(2, 2)
            module = self.backbone()
            binding = bound(module, {f"{prefix}layer.0.weight": tensor, "cls.bias": torch.ones(3)}, naming=FAMILY, accepts=frozenset())
            assert module["layer"][0].weight.data_ptr() == tensor.data_ptr()
            assert binding.optional == ("cls.bias",)

    def test_old_names_of_layer_norms(self):
        module = nn.ModuleDict({"LayerNorm": nn.LayerNorm(2)})
        tensors = {"bert.LayerNorm.gamma": torch.full((2,), 3.0), "bert.LayerNorm.beta": torch.full((2,), 4.0)}
        bound(module, tensors, naming=FAMILY)
        assert module["LayerNorm"].weight.tolist() == [3, 3]
        assert module["LayerNorm"].bias.tolist() == [4, 4]

    def test_a_base_with_more_blocks_than_its_config_is_refused(self):
        tensors = {f"bert.layer.{number}.weight": torch.ones(2, 2) for number in range(3)}
        assert "bert.layer.1.weight, bert.layer.2.weight" in faults(self.backbone(), tensors, naming=FAMILY)[0]

    def test_spare_parameters_may_be_absent(self):
        module = nn.ModuleDict({"layer": nn.Linear(2, 2, bias=False), "pooler": nn.Linear(2, 2, bias=False)})
        bound(module, {"layer.weight": torch.ones(2, 2)}, naming=FAMILY, spare=frozenset({"pooler.weight"}))
        assert module["pooler"].weight.tolist() == [[0, 0], [0, 0]]
