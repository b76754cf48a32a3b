"""Which layers are adapted, and where their factors start."""

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from app.domain.errors import RefusedError
from tests.workers.adapters.nets import Net
from workers.adapters.factors import adaptable, choose_layers, draw_start, zero_b


class TestLayers:
    def test_all_by_default(self):
        assert list(choose_layers(Net(), ())) == ["stem", "point", "mixed", "out"]

    @pytest.mark.parametrize(
        ("targets", "chosen"), [(["out"], ["out"]), (["o.*", "stem"], ["stem", "out"]), (["(stem|point)"], ["stem", "point"])]
    )
    def test_by_name_and_pattern_in_the_networks_order(self, targets, chosen):
        assert list(choose_layers(Net(), targets)) == chosen

    def test_by_the_end_of_a_name(self):
        net = nn.ModuleDict({"block": nn.ModuleDict({"query": nn.Linear(2, 2)}), "my_query": nn.Linear(2, 2)})
        assert list(choose_layers(net, ["query"])) == ["block.query"]

    def test_a_target_without_a_layer_is_told_with_what_there_is(self):
        with pytest.raises(RefusedError, match="'querry' matches no layer; there are stem, point, mixed, out"):
            choose_layers(Net(), ["stem", "querry"])

    def test_no_pattern(self):
        with pytest.raises(RefusedError, match="no regular expression"):
            choose_layers(Net(), ["("])

    def test_a_tasks_own_head_is_no_target(self):
        assert "out" not in choose_layers(Net(), (), heads=["out.weight", "out.bias"])

    def test_what_an_adapter_cannot_reach_is_left_out(self):
        net = nn.ModuleDict({"attention": nn.MultiheadAttention(4, 2), "grouped": nn.Conv2d(4, 4, 3, groups=2), "lin": nn.Linear(4, 4)})
        assert list(adaptable(net)) == ["lin"]

    def test_a_network_without_layers(self):
        with pytest.raises(RefusedError, match="no linear or 2-D convolution"):
            choose_layers(nn.LayerNorm(3), ())

    def test_layers_that_lie_both_ways(self):
        net = nn.ModuleDict({"one": Conv1D(3, 4), "other": nn.Linear(4, 3)})
        with pytest.raises(RefusedError, match="one lie input first, other not"):
            choose_layers(net, ())
        assert list(choose_layers(net, ["one"])) == ["one"]


class TestStart:
    def test_shapes_are_pefts(self):
        net = nn.ModuleDict({"conv": nn.Conv2d(3, 5, (2, 4)), "lin": nn.Linear(6, 7)})
        a, b = draw_start(dict(net.items()), 2, 0), zero_b(dict(net.items()), 2)
        assert (a["conv"].shape, b["conv"].shape) == ((2, 3, 2, 4), (5, 2, 1, 1))
        assert (a["lin"].shape, b["lin"].shape) == ((2, 6), (7, 2))
        layer = {"proj": Conv1D(7, 5)}
        assert (draw_start(layer, 2, 0)["proj"].shape, zero_b(layer, 2)["proj"].shape) == ((2, 5), (7, 2))

    def test_a_layers_start_depends_on_no_other_layer(self):
        layers = choose_layers(Net(), ())
        alone = draw_start({"out": layers["out"]}, 4, 3)
        assert torch.equal(draw_start(dict(reversed(layers.items())), 4, 3)["out"], alone["out"])

    def test_another_seed_name_or_rank_starts_elsewhere(self):
        layer = nn.Linear(6, 7)
        first = draw_start({"a": layer}, 2, 0)["a"]
        others = (draw_start({"a": layer}, 2, 1)["a"], draw_start({"b": layer}, 2, 0)["b"], draw_start({"a": layer}, 3, 0)["a"][:2])
        assert not any(torch.equal(first, other) for other in others)

    def test_values_are_fixed_for_good(self):
        start = draw_start({"layer": nn.Linear(2, 3)}, 1, 0)["layer"]
        torch.testing.assert_close(start, torch.tensor([[0.015748683363199234, -0.13793079555034637]]), rtol=0, atol=0)

    def test_uniform_within_its_bound(self):
        start = draw_start({"layer": nn.Linear(400, 3)}, 50, 0)["layer"] * 20
        assert -1 <= float(start.min()) < -0.99 and 0.99 < float(start.max()) <= 1
        assert abs(float(start.mean())) < 0.02 and abs(float(start.var()) - 1 / 3) < 0.01
