"""The network linearised through all of its layers, against its finite differences and its own promises."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

from app.domain.errors import RefusedError
from tests.workers.adapters.nets import factors, images, network
from workers.adapters.factors import Factor, apply_factor
from workers.adapters.tangent import TangentModel, differentiable_layers, push_forward


def merged(drawn, coefficients):
    """The factors of sum c_n B_n."""
    first = drawn[0]
    return {
        layer: Factor(first[layer].a, sum(c * one[layer].b for c, one in zip(coefficients, drawn, strict=True)), first[layer].scale)
        for layer in first
    }


def weights_moved(net, step, drawn):
    """The network with W + step * s B A in every layer."""
    moved = network()
    for layer, factor in drawn.items():
        weight = moved.get_submodule(layer).weight
        weight += step * factor.scale * (factor.b.flatten(1) @ factor.a.flatten(1)).view(weight.shape)
    return moved


def hook_of(factor):
    return lambda module, args, output: output + apply_factor(module, args[0], factor)


def by_torch(net, drawn, inputs):
    """Value and slope by `torch.func.jvp` of the network with s B A x added to its layers, in the B of all of them at once."""

    def outputs(changes):
        handles = [net.get_submodule(layer).register_forward_hook(hook_of(replace(drawn[layer], b=b))) for layer, b in changes.items()]
        try:
            return net(inputs)
        finally:
            for handle in handles:
                handle.remove()

    directions = {layer: factor.b for layer, factor in drawn.items()}
    return torch.func.jvp(outputs, ({layer: torch.zeros_like(b) for layer, b in directions.items()},), (directions,))


class TestSlope:
    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
    def test_value_slope_and_gradients_are_torchs(self, dtype, tolerance):
        net, inputs = network(dtype), images(dtype=dtype)
        drawn = factors(net)
        trained = [factor.b.requires_grad_() for factor in drawn.values()]
        # a head inside the network that trains beside the factors
        trained += [net.out.weight.requires_grad_(), net.norm.bias.requires_grad_()]
        found = []
        with differentiable_layers():
            for value, slope in (push_forward(net, drawn, lambda: net(inputs)), by_torch(net, drawn, inputs)):
                found.append([value, slope, *torch.autograd.grad((value + slope).square().sum(), trained)])
        for ours, theirs in zip(*found, strict=True):
            assert float((ours - theirs).detach().abs().max() / theirs.detach().abs().max()) < tolerance

    def test_equals_the_central_difference_of_the_weights(self):
        net, inputs = network(), images()
        drawn = factors(net)
        _, slope = push_forward(net, drawn, lambda: net(inputs))
        step = 1e-5
        ahead, behind = (weights_moved(net, sign * step, drawn)(inputs) for sign in (1, -1))
        torch.testing.assert_close(slope, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-7)

    def test_the_value_is_the_bases(self):
        net, inputs = network(), images()
        value, slope = push_forward(net, factors(net), lambda: net(inputs))
        torch.testing.assert_close(value, net(inputs), rtol=1e-12, atol=1e-12)
        assert slope.abs().max() > 1e-3

    def test_nothing_stays_on_the_network(self):
        net, inputs = network(), images()
        before = net(inputs)
        TangentModel(net, factors(net))(inputs)
        assert torch.equal(net(inputs), before)

    def test_gradients_reach_b_and_nothing_else(self):
        net, inputs = network(), images()
        model = TangentModel(net, factors(net))
        model(inputs).square().sum().backward()
        assert all(b.grad is not None and b.grad.abs().sum() > 0 for b in model.b)
        assert all(parameter.grad is None for parameter in net.parameters())

    def test_without_gradients_too(self):
        net, inputs = network(), images()
        model = TangentModel(net, factors(net))
        with torch.inference_mode():
            inferred = model(inputs)
        torch.testing.assert_close(inferred, model(inputs).detach(), rtol=1e-12, atol=1e-12)


    def test_layers_that_are_not_plain_or_take_their_input_by_name(self):
        class Squared(nn.Linear):
            def forward(self, inputs):
                return super().forward(inputs).square()

        class Odd(nn.Module):
            def __init__(self):
                super().__init__()
                self.stored, self.squared, self.named, self.last = Conv1D(5, 4), Squared(5, 5), nn.Linear(5, 5), Squared(5, 2)

            def forward(self, inputs):
                return self.last(torch.tanh(self.named(input=self.squared(self.stored(inputs)))))

        torch.manual_seed(0)
        net, inputs = Odd().double().requires_grad_(False), torch.randn(6, 4, dtype=torch.float64)
        drawn = {
            name: Factor(torch.randn(2, 5 if name == "squared" else 4, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64), 0.5)
            for name in ("stored", "squared")
        }
        for ours, theirs in zip(push_forward(net, drawn, lambda: net(inputs)), by_torch(net, drawn, inputs), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)

    def test_an_output_that_no_factor_reaches_stands_still(self):
        net, inputs = network(), images()
        value, slope = push_forward(net, {"out": factors(net)["out"]}, lambda: {"early": net.stem(inputs), "late": net(inputs)})
        assert torch.count_nonzero(slope["early"]) == 0 and slope["late"].abs().max() > 1e-3
        assert torch.equal(value["early"], net.stem(inputs))


class TestAffine:
    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.floats(-1, 1.5, width=32), min_size=3, max_size=3))
    def test_outputs_are_affine_in_the_coefficients(self, dtype, tolerance, coefficients):
        net, inputs = network(dtype), images(dtype=dtype)
        drawn = [factors(net, seed) for seed in (1, 2, 3)]
        corners = [TangentModel(net, one)(inputs).detach() for one in drawn]
        origin = net(inputs)
        predicted = origin + sum(c * (corner - origin) for c, corner in zip(coefficients, corners, strict=True))
        measured = TangentModel(net, merged(drawn, coefficients))(inputs).detach()
        scale = sum(corner.abs().max() for corner in corners)
        assert float((measured - predicted).abs().max() / scale) < tolerance


class TestModuleByModule:
    """L-LoRA: each layer by itself linearised at (A0, B = 0) is LoRA with a frozen A."""

    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
    def test_equals_the_jvp_of_each_module(self, dtype, tolerance):
        net = network(dtype)
        drawn = factors(net, seed=5)
        for layer, factor in drawn.items():
            module = net.get_submodule(layer)
            inputs = torch.randn(4, module.in_channels, 6, 6, dtype=dtype) if isinstance(module, nn.Conv2d) else torch.randn(
                4, module.in_features, dtype=dtype
            )

            def with_factors(a, b, module=module, inputs=inputs, scale=factor.scale):
                return module(inputs) + apply_factor(module, inputs, Factor(a, b, scale))

            point = (factor.a, torch.zeros_like(factor.b))
            # a direction in A as well: at B = 0 it makes no difference
            value, slope = torch.func.jvp(with_factors, point, (torch.randn_like(factor.a), factor.b))
            ours = module(inputs) + apply_factor(module, inputs, factor)
            assert float((value + slope - ours).abs().max() / ours.abs().max()) < tolerance

    def test_the_gradient_of_a_is_exactly_zero_at_the_start(self):
        net, inputs = network(), torch.randn(4, 8, dtype=torch.float64)
        for layer in ("mixed", "out"):
            factor = factors(net, zero=True)[layer]
            factor.a.requires_grad_(True)
            outputs = net.get_submodule(layer)(inputs) + apply_factor(net.get_submodule(layer), inputs, factor)
            (gradient,) = torch.autograd.grad(outputs.square().sum(), factor.a)
            assert torch.count_nonzero(gradient) == 0


class TestRefusals:
    def test_attention_that_is_forced_into_a_fused_kernel(self):
        net = network()
        net.config = type("Config", (), {"_attn_implementation": "flash_attention_2"})()
        with pytest.raises(RefusedError, match="flash_attention_2.*eager"):
            TangentModel(net, factors(net))

    def test_a_layer_without_a_forward_derivative(self):
        class Opaque(torch.autograd.Function):
            @staticmethod
            def forward(inputs):
                return inputs * 2

            @staticmethod
            def setup_context(ctx, inputs, output):
                pass

            @staticmethod
            def backward(ctx, gradient):
                return gradient * 2

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.lin = nn.Linear(4, 4)

            def forward(self, inputs):
                return Opaque.apply(self.lin(inputs))

        net = Net().requires_grad_(False)
        with pytest.raises(RefusedError, match="no forward derivative"):
            TangentModel(net, factors(net))(torch.ones(2, 4))

    def test_defects_of_the_network_are_not_hidden(self):
        net = network()
        with pytest.raises(RuntimeError, match="size|shape|channels"):
            TangentModel(net, factors(net))(images()[:, :, 0])


def test_transformers_pass_through_plain_attention():
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=20)
    net = BertModel(config, add_pooling_layer=False).eval().requires_grad_(False)
    tokens = torch.arange(12).view(2, 6)
    drawn = factors(net)
    value, slope = push_forward(net, drawn, lambda: net(tokens).last_hidden_state)
    torch.testing.assert_close(value, net(tokens).last_hidden_state)
    model = TangentModel(net, drawn)
    torch.testing.assert_close(model(input_ids=tokens).last_hidden_state, value + slope)


def test_a_layer_of_transformers_own_kind():
    module, inputs = Conv1D(3, 4), torch.randn(5, 4)
    factor = Factor(torch.randn(2, 4), torch.randn(3, 2), 0.5)
    torch.testing.assert_close(apply_factor(module, inputs, factor), linear(inputs, 0.5 * factor.b @ factor.a))
