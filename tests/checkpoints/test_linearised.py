"""Adapters of our own training: their files, what keeps them apart, and their merges."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from checkpoints.acceptance import account_faults, check_fits
from checkpoints.adapter_export import stack_adapters
from checkpoints.adapter_metadata import AdapterMetadata, digest_base, digest_tensors, read_metadata
from checkpoints.errors import LayoutError, MisfitError, NotFiniteError
from checkpoints.groups import group_tensors, spread_coefficients
from checkpoints.layout import open_layout
from checkpoints.linearised import LinearisedAdapter, merge_linearised, read_linearised
from checkpoints.model_set import fit_model_set

RANK = 3


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 5, 3)
        self.lin = nn.Linear(8, 6)
        self.head = nn.Linear(6, 2)


def start(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"conv": torch.randn(RANK, 2, 3, 3, generator=generator), "lin": torch.randn(RANK, 8, generator=generator)}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    save_file(Net().state_dict(), path)
    return open_layout(path)


@pytest.fixture
def make(base):
    """An adapter with a random B."""

    def build(seed=1, kind="llora", a0=0, base_digest=None, **changes):
        generator = torch.Generator().manual_seed(seed)
        a = start(a0)
        b = {"conv": torch.randn(5, RANK, 1, 1, generator=generator), "lin": torch.randn(6, RANK, generator=generator)}
        metadata = AdapterMetadata(kind, base_digest or digest_base(base), digest_tensors(a), a0, {"report": 0.5})
        return replace(LinearisedAdapter(metadata, RANK, 6.0, a, b, base=str(base.root)), **changes)

    return build


def write(adapter, directory):
    directory.mkdir(exist_ok=True)
    for name, content in adapter.files().items():
        (directory / name).write_bytes(content)
    return directory


def dense(adapter, layer):
    return adapter.scale * adapter.b[layer].flatten(1).double() @ adapter.a[layer].flatten(1).double()


class TestFiles:
    @pytest.mark.parametrize("kind", ["lora", "llora", "tangent"])
    def test_what_is_written_is_read(self, kind, make, tmp_path):
        made = make(kind=kind, private={"head.weight": torch.ones(2, 6)})
        read = read_linearised(write(made, tmp_path))
        assert (read.metadata, read.rank, read.alpha, read.base) == (made.metadata, made.rank, made.alpha, made.base)
        for mine, theirs in ((read.a, made.a), (read.b, made.b), (read.private, made.private)):
            assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)

    def test_the_kind_is_told_by_the_files(self, make, tmp_path):
        kinds = [open_layout(write(make(kind=kind), tmp_path / kind)).kind for kind in ("lora", "llora", "tangent")]
        assert kinds == ["lora", "lora", "tangent"]

    def test_equal_adapters_have_equal_bytes(self, make):
        assert make().files() == make().files()

    def test_adapters_of_others_have_no_metadata(self, make, tmp_path):
        write(make(), tmp_path)
        save_file({"base_model.model.lin.lora_A.weight": torch.ones(3, 8)}, tmp_path / "adapter_model.safetensors")
        assert read_metadata(open_layout(tmp_path)) is None
        with pytest.raises(LayoutError, match="mergefront finetune"):
            read_linearised(tmp_path)

    @pytest.mark.parametrize(
        ("change", "error", "problem"),
        [
            ({"a": {**start(), "lin": torch.ones(RANK, 8)}}, MisfitError, "not the start that its metadata names"),
            ({"b": {"lin": torch.ones(6, RANK)}}, MisfitError, "conv: needs one factor A and one factor B"),
            ({"rank": 4}, MisfitError, "not of rank 4"),
            ({"b": {"conv": torch.ones(5, RANK, 1, 1), "lin": torch.full((6, RANK), torch.nan)}}, NotFiniteError, "lin: holds NaN"),
        ],
    )
    def test_files_that_lie(self, change, error, problem, make, tmp_path):
        with pytest.raises(error, match=problem):
            read_linearised(write(make(**change), tmp_path))

    @pytest.mark.parametrize(
        "texts", [{"mergefront.kind": "dora"}, {"mergefront.kind": "llora"}, {"mergefront.kind": "lora", "mergefront.scores": "x"}]
    )
    def test_metadata_that_cannot_be_read(self, texts, make, tmp_path):
        write(make(), tmp_path)
        save_file({"x": torch.ones(1)}, tmp_path / "adapter_model.safetensors", texts)
        with pytest.raises(LayoutError, match="mergefront"):
            read_linearised(tmp_path)


class TestAcceptance:
    @pytest.mark.parametrize("kind", ["lora", "llora", "tangent"])
    def test_what_is_as_it_says_is_taken(self, kind, make, base, tmp_path):
        layout = open_layout(write(make(kind=kind), tmp_path))
        assert account_faults(layout) == ()
        check_fits(layout, base)

    @pytest.mark.parametrize("kind", ["llora", "tangent"])
    def test_another_start_than_it_names(self, kind, make, tmp_path):
        layout = open_layout(write(make(kind=kind, a={**start(), "lin": torch.ones(RANK, 8)}), tmp_path))
        assert "are not the start that its metadata names" in "".join(account_faults(layout))

    def test_another_base_of_the_same_shapes(self, make, base, tmp_path):
        layout = open_layout(write(make(base_digest="0" * 64), tmp_path))
        with pytest.raises(MisfitError, match="trained on another base"):
            check_fits(layout, base)

    def test_a_tangent_adapter_without_our_metadata(self, make, tmp_path):
        write(make(kind="tangent"), tmp_path)
        save_file({"base_model.model.lin.lora_A.weight": torch.ones(3, 8)}, tmp_path / "adapter_model.safetensors")
        assert "mergefront finetune" in "".join(account_faults(open_layout(tmp_path)))

    def test_full_weights_and_adapters_of_others_give_no_account(self, make, base, tmp_path):
        write(make(), tmp_path)
        save_file({"base_model.model.lin.lora_A.weight": torch.ones(3, 8)}, tmp_path / "adapter_model.safetensors")
        assert account_faults(base) == account_faults(open_layout(tmp_path)) == ()

    def test_values_that_are_not_finite_are_told_elsewhere(self, make, tmp_path):
        b = {"conv": torch.ones(5, RANK, 1, 1), "lin": torch.full((6, RANK), torch.nan)}
        assert account_faults(open_layout(write(make(b=b), tmp_path))) == ()


class TestMerge:
    @given(st.lists(st.floats(-2, 2), min_size=3, max_size=3))
    def test_is_the_sum_of_dense_deltas_at_the_same_rank(self, coefficients):
        adapters = {str(seed): in_memory(seed) for seed in (1, 2, 3)}
        merged = merge_linearised(adapters, coefficients)
        for layer in ("conv", "lin"):
            expected = sum(c * dense(one, layer) for c, one in zip(coefficients, adapters.values(), strict=True))
            torch.testing.assert_close(dense(merged, layer), expected, rtol=1e-5, atol=1e-5)
            assert merged.a[layer].shape[0] == RANK and torch.linalg.matrix_rank(dense(merged, layer), rtol=1e-9) <= RANK

    def test_carries_kind_and_start_and_no_head(self, make):
        merged = merge_linearised({"x": make(1, private={"head.bias": torch.ones(2)}), "y": make(2)}, [0.5, 1.0])
        assert (merged.metadata.kind, merged.metadata.a0, merged.scale, merged.private) == ("llora", make().metadata.a0, 1.0, {})

    @pytest.mark.parametrize(
        ("second", "problem"),
        [
            ({"a0": 1}, "y and x started from different A0"),
            ({"base_digest": "0" * 64}, "y and x were trained on different bases"),
            ({"kind": "tangent"}, "no merge in common"),
            ({"kind": "lora"}, "y: its A trained"),
        ],
    )
    def test_what_does_not_go_together(self, second, problem, make):
        with pytest.raises(MisfitError, match=problem):
            merge_linearised({"x": make(1), "y": make(2, **second)}, [1.0, 1.0])

    @pytest.mark.parametrize("coefficients", [[1.0], [1.0, float("nan")]])
    def test_coefficients_that_do_not_fit(self, coefficients, make):
        with pytest.raises(MisfitError, match="finite coefficients"):
            merge_linearised({"x": make(1), "y": make(2)}, coefficients)


class TestModelSet:
    def fitted(self, base, folder, **adapters):
        return fit_model_set(base, {name: open_layout(write(adapter, folder / name)) for name, adapter in adapters.items()})

    def test_task_vectors_are_the_dense_deltas(self, base, make, tmp_path):
        models = self.fitted(base, tmp_path, x=make(1), y=make(2))
        deltas = models.deltas("conv.weight", 0, models.sizes["conv.weight"])
        torch.testing.assert_close(deltas[1].view(5, -1), dense(make(2), "conv").float())

    def test_exports_as_one_peft_adapter_of_the_same_rank(self, base, make, tmp_path):
        models = self.fitted(base, tmp_path, x=make(1), y=make(2), z=make(3))
        groups = group_tensors(models.sizes, "task")
        merged = stack_adapters(models, spread_coefficients((0.4, 0.8, -0.2), groups))
        assert {factor.rank for factor in merged.factors.values()} == {RANK} and merged.config()["r"] == RANK
        for layer in ("conv", "lin"):
            expected = 0.4 * dense(make(1), layer) + 0.8 * dense(make(2), layer) - 0.2 * dense(make(3), layer)
            shown = merged.factors[layer].dense(0, expected.numel()).view(expected.shape)
            torch.testing.assert_close(shown, expected.float(), rtol=1e-5, atol=1e-5)
            assert torch.equal(merged.factors[layer].right.view(start()[layer].shape), start()[layer])

    def test_ordinary_lora_is_stacked(self, base, make, tmp_path):
        models = self.fitted(base, tmp_path, x=make(1, kind="lora"), y=make(2, kind="lora", a0=1))
        merged = stack_adapters(models, spread_coefficients((0.4, 0.8), group_tensors(models.sizes, "task")))
        assert {factor.rank for factor in merged.factors.values()} == {2 * RANK}

    @pytest.mark.parametrize(
        ("second", "problem"),
        [
            ({"a0": 1}, "y and x started from different A0 and span different spaces"),
            ({"base_digest": "0" * 64}, "y: trained on another base"),
            ({"kind": "tangent"}, "y: linearised through the whole network, which x is not"),
        ],
    )
    def test_what_does_not_go_together(self, second, problem, base, make, tmp_path):
        with pytest.raises(MisfitError, match=problem):
            self.fitted(base, tmp_path, x=make(1), y=make(2, **second))

    def test_full_weights_beside_a_tangent_adapter(self, base, make, tmp_path):
        torch.manual_seed(8)
        save_file(Net().state_dict(), tmp_path / "full.safetensors")
        layouts = {"x": open_layout(write(make(kind="tangent"), tmp_path / "x")), "full": open_layout(tmp_path / "full.safetensors")}
        with pytest.raises(MisfitError, match="all tuned checkpoints of such a set must be"):
            fit_model_set(base, layouts)


class TestDigests:
    def test_of_a_base_does_not_depend_on_its_files(self, tmp_path):
        tensors = {"a": torch.ones(3), "b": torch.zeros(2, 2, dtype=torch.bfloat16), "none": torch.zeros(0)}
        save_file(tensors, tmp_path / "whole.safetensors")
        shards = tmp_path / "shards"
        shards.mkdir()
        for name, tensor in tensors.items():
            save_file({name: tensor}, shards / f"{name}.safetensors")
        index = {"weight_map": {name: f"{name}.safetensors" for name in tensors}}
        (shards / "model.safetensors.index.json").write_text(json.dumps(index))
        assert digest_base(open_layout(tmp_path / "whole.safetensors")) == digest_base(open_layout(shards)) == digest_tensors(tensors)

    @pytest.mark.parametrize(
        "other",
        [{"a": torch.ones(4)}, {"b": torch.ones(3)}, {"a": torch.ones(3, 1)}, {"a": torch.ones(3).double()}, {"a": torch.zeros(3)}],
    )
    def test_differ_by_name_shape_dtype_and_value(self, other):
        assert digest_tensors(other) != digest_tensors({"a": torch.ones(3)})


def in_memory(seed):
    generator = torch.Generator().manual_seed(seed)
    a = start()
    b = {"conv": torch.randn(5, RANK, 1, 1, generator=generator), "lin": torch.randn(6, RANK, generator=generator)}
    return LinearisedAdapter(AdapterMetadata("llora", "base", digest_tensors(a), 0), RANK, 6.0, a, b)
