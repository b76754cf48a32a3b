"""Adapters made by PEFT itself, on a net with every kind of layer that we merge."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from checkpoints.adapters import LowRank, open_adapter
from checkpoints.errors import LayoutError, MisfitError, NotFiniteError
from checkpoints.fit import assign_roles
from checkpoints.layout import open_layout
from checkpoints.model_set import fit_model_set
from checkpoints.read import MappedTensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(11, 6)
        self.conv = nn.Conv2d(3, 5, 3)
        self.point = nn.Conv2d(5, 4, 1)
        self.lin = nn.Linear(6, 4)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 2)


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = Net()
        self.score = nn.Linear(2, 3)


TARGETS = ["emb", "conv", "point", "lin"]


@pytest.fixture(scope="module")
def make_adapter():
    """Writes a PEFT adapter with random factors, and gives the module that holds it."""
    import peft

    def make(path, net=None, seed=0, **options):
        torch.manual_seed(seed)
        config = peft.LoraConfig(**{"r": 4, "lora_alpha": 6, "target_modules": TARGETS, **options})
        model = peft.get_peft_model(net or Net(), config)
        for name, parameter in model.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(path)
        return model

    return make


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    torch.manual_seed(99)
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    save_file(Net().state_dict(), path)
    return open_layout(path)


@pytest.fixture
def opened(base):
    def open_at(path, private=()):
        return open_adapter("mine", open_layout(path), base, assign_roles(base, private))

    return open_at


@pytest.fixture
def edited(tmp_path, make_adapter):
    """An adapter whose configuration and tensors are changed after PEFT wrote them."""

    def edit(config=None, tensors=None, drop=()):
        make_adapter(tmp_path)
        document = json.loads((tmp_path / CONFIG).read_text())
        (tmp_path / CONFIG).write_text(json.dumps({**document, **(config or {})}))
        stored = {**load_file(tmp_path / WEIGHTS), **(tensors or {})}
        save_file({name: tensor for name, tensor in stored.items() if name not in drop}, tmp_path / WEIGHTS)
        return tmp_path

    return edit


def delta_of(source, base, tensor):
    size = base.entry(tensor).elements
    out = torch.empty(size)
    source.write_delta(tensor, 0, size, MappedTensors(base).flat(tensor).float(), out)
    return out.view(base.entry(tensor).shape)


class TestAgainstPeft:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"use_rslora": True},
            {"rank_pattern": {"lin": 2, "co.v": 3}, "alpha_pattern": {"^conv": 16, "emb": 1}},
            {"target_modules": ["lin"], "r": 1},
        ],
        ids=["plain", "rank-stabilised", "patterns", "rank-1"],
    )
    def test_dense_delta_is_theirs(self, tmp_path, make_adapter, opened, base, options):
        model = make_adapter(tmp_path, **options)
        source = opened(tmp_path)
        for module in options.get("target_modules", TARGETS):
            expected = getattr(model.base_model.model, module).get_delta_weight("default")
            assert torch.allclose(delta_of(source, base, f"{module}.weight"), expected, rtol=1e-5, atol=1e-6)

    def test_transposed_layers(self, tmp_path, make_adapter):
        from transformers.pytorch_utils import Conv1D

        net = nn.Sequential()
        net.add_module("proj", Conv1D(7, 5))  # weight 5 x 7: input first
        (tmp_path / "base").mkdir()
        save_file(net.state_dict(), tmp_path / "base" / "model.safetensors")
        layout = open_layout(tmp_path / "base")
        model = make_adapter(tmp_path / "tuned", net, target_modules=["proj"], fan_in_fan_out=True)
        source = open_adapter("mine", open_layout(tmp_path / "tuned"), layout, assign_roles(layout, ()))
        expected = model.base_model.model.proj.get_delta_weight("default")
        assert torch.allclose(delta_of(source, layout, "proj.weight"), expected, rtol=1e-5, atol=1e-6)

    def test_half_precision_factors_lose_nothing(self, edited, opened, base):
        a, b = torch.randn(4, 6).bfloat16(), torch.randn(4, 4).bfloat16()
        names = [f"base_model.model.lin.lora_{side}.weight" for side in "AB"]
        source = opened(edited(tensors=dict(zip(names, (a, b), strict=True))))
        assert torch.equal(delta_of(source, base, "lin.weight"), (b.double() @ a.double() * 1.5).float())

    def test_saved_modules_are_whole_tensors(self, tmp_path, make_adapter, opened, base):
        model = make_adapter(tmp_path, modules_to_save=["head"])
        source = opened(tmp_path)
        saved = model.base_model.model.head.modules_to_save["default"].weight.detach()
        assert torch.equal(source.weights("head.weight", 0, 8).view(2, 4), saved)
        assert torch.equal(delta_of(source, base, "head.weight"), saved - MappedTensors(base).tensor("head.weight"))
        assert source.private == ()

    def test_saved_module_that_is_named_private(self, tmp_path, make_adapter, opened):
        model = make_adapter(tmp_path, modules_to_save=["head"])
        source = opened(tmp_path, private=["^head"])
        assert sorted(source.private) == ["head.bias", "head.weight"]
        saved = model.base_model.model.head.modules_to_save["default"].weight.detach()
        assert torch.equal(source.private_tensor("head.weight"), saved)
        assert not source.touches("head.weight")

    def test_what_it_does_not_reach(self, tmp_path, make_adapter, opened):
        make_adapter(tmp_path, target_modules=["lin"])
        source = opened(tmp_path)
        assert [tensor for tensor in ("lin.weight", "lin.bias", "emb.weight") if source.touches(tensor)] == ["lin.weight"]
        assert source.weights("lin.weight", 0, 4) is None


class TestNames:
    def test_base_saved_without_the_wrapper(self, tmp_path, make_adapter, opened, base):
        model = make_adapter(tmp_path, Wrapped(), target_modules=["lin"], modules_to_save=["score"])
        source = opened(tmp_path)
        expected = model.base_model.model.backbone.lin.get_delta_weight("default")
        assert torch.allclose(delta_of(source, base, "lin.weight"), expected, atol=1e-6)
        assert sorted(source.private) == ["score.bias", "score.weight"]

    def test_adapter_trained_without_the_wrapper(self, tmp_path, make_adapter):
        save_file(Wrapped().state_dict(), tmp_path / "base.safetensors")
        layout = open_layout(tmp_path / "base.safetensors")
        make_adapter(tmp_path / "tuned", target_modules=["lin", "conv"])
        source = open_adapter("mine", open_layout(tmp_path / "tuned"), layout, assign_roles(layout, ()))
        assert sorted(source.factors) == ["backbone.conv.weight", "backbone.lin.weight"]


@given(cuts=st.lists(st.integers(0, 135), max_size=5), seed=st.integers(0, 99))
def test_delta_does_not_depend_on_blocks(cuts, seed):
    generator = torch.Generator().manual_seed(seed)
    factor = LowRank(torch.randn(5, 4, generator=generator), torch.randn(4, 27, generator=generator), 0.7, "convolution")
    edges = sorted({0, 135, *cuts})
    pieces = [factor.dense(start, stop) for start, stop in zip(edges, edges[1:], strict=False)]
    assert torch.equal(torch.cat(pieces), factor.dense(0, 135))


class TestInAModelSet:
    def test_beside_full_weights(self, tmp_path, make_adapter, base):
        make_adapter(tmp_path / "lora")
        torch.manual_seed(5)
        save_file({**Net().state_dict()}, tmp_path / "full.safetensors")
        layouts = {"full": open_layout(tmp_path / "full.safetensors"), "lora": open_layout(tmp_path / "lora")}
        models = fit_model_set(base, layouts)
        deltas = models.deltas("lin.bias", 0, 4)
        assert deltas[0].any()
        assert not deltas[1].any()
        assert models.deltas("lin.weight", 3, 9)[1].any()


class TestRefusals:
    @pytest.mark.parametrize(
        ("config", "named"),
        [
            ({"use_dora": True}, "use_dora"),
            ({"bias": "all"}, "bias"),
            ({"lora_bias": True}, "lora_bias"),
            ({"layer_replication": [[0, 2]]}, "layer_replication"),
            ({"target_parameters": ["experts"]}, "target_parameters"),
            ({"init_lora_weights": "pissa"}, "init_lora_weights"),
            ({"feature_of_tomorrow": 3}, "feature_of_tomorrow"),
            ({"peft_type": "IA3"}, "IA3"),
            ({"r": 0}, "r must be"),
            ({"lora_alpha": "x"}, "lora_alpha"),
            ({"rank_pattern": {"lin": 0}}, "rank_pattern.lin"),
            ({"alpha_pattern": {"(": 1}}, "regular expression"),
            ({"rank_pattern": [1]}, "rank_pattern"),
        ],
    )
    def test_features_we_do_not_merge(self, edited, opened, config, named):
        with pytest.raises(MisfitError, match=named):
            opened(edited(config))

    def test_every_feature_is_named_at_once(self, edited, opened):
        with pytest.raises(MisfitError) as caught:
            opened(edited({"use_dora": True, "bias": "all", "r": -1}))
        assert len(caught.value.faults) == 3

    def test_configuration_that_is_no_object(self, tmp_path, make_adapter, opened):
        make_adapter(tmp_path)
        (tmp_path / CONFIG).write_text("[]")
        with pytest.raises(LayoutError, match="object"):
            opened(tmp_path)

    def test_every_misfit_is_named_at_once(self, edited, opened):
        prefix = "base_model.model."
        path = edited(
            tensors={
                f"{prefix}lin.lora_A.weight": torch.zeros(4, 7),
                f"{prefix}elsewhere.lora_A.weight": torch.zeros(4, 6),
                f"{prefix}elsewhere.lora_B.weight": torch.zeros(4, 4),
                f"{prefix}lin.lora_magnitude_vector": torch.zeros(4),
                f"{prefix}head.weight": torch.zeros(3, 3),
                f"{prefix}norm.lora_A.weight": torch.zeros(4, 4),
                f"{prefix}norm.lora_B.weight": torch.zeros(4, 4),
            },
            drop=[f"{prefix}conv.lora_B.weight"],
        )
        with pytest.raises(MisfitError) as caught:
            opened(path)
        words = ["lora_magnitude_vector", "conv: needs", "elsewhere.weight", "lin.weight: factors", "norm.weight", "head.weight: stored"]
        assert len(caught.value.faults) == len(words)
        for word in words:
            assert any(word in fault for fault in caught.value.faults)

    def test_rank_that_differs_from_the_factors(self, edited, opened):
        with pytest.raises(MisfitError, match="at rank 8"):
            opened(edited({"r": 8}))

    def test_factors_on_a_private_tensor(self, tmp_path, make_adapter, opened):
        make_adapter(tmp_path)
        with pytest.raises(MisfitError, match="named private"):
            opened(tmp_path, private=["^lin"])

    def test_factors_on_a_tensor_of_integers(self, edited, opened):
        prefix = "base_model.model.norm.num_batches_tracked"
        path = edited(tensors={f"{prefix}": torch.tensor(3)})
        with pytest.raises(MisfitError, match="other values"):
            opened(path)

    def test_embedding_of_another_base(self, edited, opened):
        with pytest.raises(MisfitError, match="another base"):
            opened(edited(tensors={"base_model.model.emb.base_layer.weight": torch.zeros(11, 6)}))

    def test_no_factors(self, edited, opened):
        path = edited()
        save_file({"base_model.model.head.weight": torch.zeros(2, 4)}, path / WEIGHTS)
        with pytest.raises(MisfitError, match="no LoRA factors"):
            opened(path)

    def test_factor_with_a_nan(self, edited, opened):
        bad = torch.full((4, 6), float("nan"))
        with pytest.raises(NotFiniteError, match="lin.weight"):
            opened(edited(tensors={"base_model.model.lin.lora_A.weight": bad}))
