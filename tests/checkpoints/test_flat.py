import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from checkpoints import stretches
from checkpoints.errors import MisfitError
from checkpoints.flat import prepare_flat_merge
from checkpoints.groups import group_tensors
from checkpoints.layout import open_layout
from checkpoints.model_set import fit_model_set
from checkpoints.transforms.prepare import prepare_transform
from checkpoints.transforms.spec import Dare, Magnitude, NoTransform, Ties

SHAPES = {
    "embed.weight": (13, 5),
    "layers.0.proj.weight": (6, 5),
    "layers.0.proj.bias": (6,),
    "layers.1.conv.weight": (4, 3, 2, 2),
    "layers.1.scale": (),
    "norm.weight": (5,),
}
KINDS = ["float32", "bfloat16", "mixed", "half base"]
MIXED = {"layers.0.proj.weight": torch.bfloat16, "layers.0.proj.bias": torch.bfloat16, "norm.weight": torch.float16}


def draw(seed, spread, around=None):
    generator = torch.Generator().manual_seed(seed)
    noise = {name: torch.randn(shape, generator=generator) * spread for name, shape in SHAPES.items()}
    return {name: noise[name] + around[name].float() if around else noise[name] for name in SHAPES}


def cast(weights, dtypes):
    return {name: tensor.to(dtypes.get(name, torch.float32)) for name, tensor in weights.items()}


def build_models(folder: Path, base_dtypes, tuned_dtypes, count=3):
    base = cast(draw(0, 1.0), base_dtypes)
    counter = {"layers.1.steps": torch.tensor(7)}
    save_file(base | counter | {"head.weight": torch.ones(2, 5)}, folder / "base.safetensors")
    layouts = {}
    for number in range(count):
        path = folder / f"tuned{number}.safetensors"
        save_file(cast(draw(number + 1, 0.1, base), tuned_dtypes) | counter | {"head.weight": torch.zeros(3, 5)}, path)
        layouts[f"tuned{number}"] = open_layout(path)
    return fit_model_set(open_layout(folder / "base.safetensors"), layouts, private=["^head"])


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """One model set for each way of mixing precisions."""
    half = dict.fromkeys(SHAPES, torch.bfloat16)
    mixtures = {"float32": ({}, {}), "bfloat16": (half, half), "mixed": (MIXED, MIXED), "half base": (half, {})}
    return {kind: build_models(tmp_path_factory.mktemp("models"), *mixture) for kind, mixture in mixtures.items()}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setitem(stretches.BLOCK, "cpu", 16)


@pytest.fixture(scope="module", params=[None, Ties(0.3), Magnitude(0.5), Dare(0.4, 1)], ids=str)
def spec(request):
    return request.param


@pytest.fixture(scope="module", params=KINDS)
def twins(request, spec, kinds):
    """The same merge held in memory and read from its files."""
    models = kinds[request.param]
    transform = prepare_transform(spec, models) if spec else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(stretches.BLOCK, "cpu", 16)
        return tuple(prepare_flat_merge(models, group_tensors(models.sizes), transform, budget=budget) for budget in (1 << 30, 0))


def reference(models, vector, groups, transform=None):
    """theta(c) in float64, tensor by tensor."""
    rows = torch.tensor(vector, dtype=torch.float64).reshape(len(models.tuned), -1)
    merged = {}
    for tensor, size in models.sizes.items():
        deltas = models.deltas(tensor, 0, size)
        if transform:
            deltas = transform.apply(tensor, 0, deltas)
        total = models.base.flat(tensor).double() + rows[:, groups.members[tensor]] @ deltas.double()
        merged[tensor] = total.view(models.base.layout.entry(tensor).shape)
    return merged


class TestAssemble:
    @pytest.mark.parametrize("budget", [None, 0], ids=["resident", "streamed"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_is_the_float64_sum(self, kinds, kind, budget):
        models, vector = kinds[kind], [0.3, -1.2, 0.7]
        groups = group_tensors(models.sizes)
        flat = prepare_flat_merge(models, groups, budget=budget)
        flat.assemble(vector)
        for tensor, expected in reference(models, vector, groups).items():
            assert flat.views[tensor].dtype == torch.float32
            assert torch.allclose(flat.views[tensor].double(), expected, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("budget", [None, 0], ids=["resident", "streamed"])
    def test_in_the_dtypes_of_the_base_with_one_rounding(self, kinds, budget):
        models, vector = kinds["mixed"], [0.3, -1.2, 0.7]
        groups = group_tensors(models.sizes)
        flat = prepare_flat_merge(models, groups, dtype=None, budget=budget)
        flat.assemble(vector)
        for tensor, expected in reference(models, vector, groups).items():
            assert flat.views[tensor].dtype == MIXED.get(tensor, torch.float32)
            step = torch.finfo(flat.views[tensor].dtype).eps
            assert torch.allclose(flat.views[tensor].double(), expected, rtol=step, atol=1e-6)

    @given(vector=st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=3))
    def test_streamed_is_resident_bit_by_bit(self, twins, vector):
        resident, streamed = twins
        assert (resident.plan.mode, streamed.plan.mode) == ("resident", "streamed")
        resident.assemble(vector)
        streamed.assemble(vector)
        assert all(torch.equal(view, streamed.views[tensor]) for tensor, view in resident.views.items())

    @pytest.mark.parametrize("budget", [None, 0], ids=["resident", "streamed"])
    def test_transformed_is_the_float64_sum(self, kinds, spec, budget):
        models, vector = kinds["mixed"], [0.5, 1.0, -0.25]
        groups, transform = group_tensors(models.sizes), prepare_transform(spec or NoTransform(), models)
        flat = prepare_flat_merge(models, groups, transform, budget=budget)
        flat.assemble(vector)
        for tensor, expected in reference(models, vector, groups, transform).items():
            assert torch.allclose(flat.views[tensor].double(), expected, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("grouping", ["block", ["^layers", "^norm"]])
    @pytest.mark.parametrize("budget", [None, 0], ids=["resident", "streamed"])
    def test_a_coefficient_for_each_group(self, kinds, grouping, budget):
        models = kinds["float32"]
        groups = group_tensors(models.sizes, grouping)
        vector = torch.linspace(-1, 1, 3 * len(groups.labels)).tolist()
        flat = prepare_flat_merge(models, groups, budget=budget)
        flat.assemble(vector)
        for tensor, expected in reference(models, vector, groups).items():
            assert torch.allclose(flat.views[tensor].double(), expected, rtol=1e-6, atol=1e-6)

    def test_forgets_the_trial_before(self, kinds):
        models = kinds["float32"]
        flat = prepare_flat_merge(models, group_tensors(models.sizes))
        flat.assemble([1.0, 2.0, 3.0])
        flat.assemble([0.0, 0.0, 0.0])
        assert all(torch.equal(flat.views[tensor], models.base.tensor(tensor)) for tensor in models.sizes)

    @pytest.mark.parametrize("vector", [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0], [math.nan, 0.0, 0.0], []])
    def test_refuses_coefficients_that_do_not_fit(self, kinds, vector):
        models = kinds["float32"]
        flat = prepare_flat_merge(models, group_tensors(models.sizes))
        with pytest.raises(MisfitError, match="coefficients"):
            flat.assemble(vector)


class TestViews:
    def test_start_as_the_base(self, kinds):
        flat = prepare_flat_merge(kinds["mixed"], group_tensors(kinds["mixed"].sizes), dtype=None)
        base = kinds["mixed"].base
        assert list(flat.views) == list(base.layout.tensors)
        assert all(torch.equal(view, base.tensor(tensor)) for tensor, view in flat.views.items())

    def test_share_one_buffer_at_aligned_places(self, kinds):
        models = kinds["float32"]
        views = prepare_flat_merge(models, group_tensors(models.sizes)).views
        merged = [views[tensor] for tensor in models.sizes]
        assert len({view.untyped_storage().data_ptr() for view in merged}) == 1
        assert all(view.storage_offset() * 4 % 64 == 0 for view in merged)

    def test_of_what_is_not_merged_stay_the_base_s(self, kinds):
        models = kinds["float32"]
        flat = prepare_flat_merge(models, group_tensors(models.sizes))
        flat.assemble([1.0, 1.0, 1.0])
        assert int(flat.views["layers.1.steps"]) == 7
        assert torch.equal(flat.views["head.weight"], torch.ones(2, 5))

    def test_are_the_same_objects_at_every_trial(self, kinds):
        models = kinds["float32"]
        flat = prepare_flat_merge(models, group_tensors(models.sizes))
        before = {tensor: view.data_ptr() for tensor, view in flat.views.items()}
        flat.assemble([1.0, 0.0, 1.0])
        assert before == {tensor: view.data_ptr() for tensor, view in flat.views.items()}


class TestPlan:
    def test_counts_the_bytes(self, kinds):
        models = kinds["bfloat16"]
        plan = prepare_flat_merge(models, group_tensors(models.sizes)).plan
        elements = sum(models.sizes.values())
        # base and three tuned checkpoints in two bytes each, merged weights in four; slots are aligned
        assert 8 * elements <= plan.stored < 8 * elements + 8 * 16 * len(SHAPES)
        assert 4 * elements <= plan.buffer < 4 * elements + 64 * len(SHAPES)

    def test_streams_what_does_not_fit(self, kinds):
        models = kinds["float32"]
        groups = group_tensors(models.sizes)
        fits = prepare_flat_merge(models, groups).plan
        assert prepare_flat_merge(models, groups, budget=fits.buffer + fits.stored).plan.mode == "resident"
        assert prepare_flat_merge(models, groups, budget=fits.buffer + fits.stored - 1).plan.mode == "streamed"
