import pytest
import torch
from safetensors.torch import save_file

from checkpoints.errors import MisfitError
from checkpoints.layout import open_layout
from checkpoints.model_set import fit_model_set


@pytest.fixture
def fit(tmp_path):
    """Writes a base and tuned checkpoints, each a dict of tensors, and fits them."""

    def write(name, tensors):
        path = tmp_path / f"{name}.safetensors"
        save_file({key: tensor.clone() for key, tensor in tensors.items()}, path)
        return open_layout(path)

    def fit(base, tuned, private=()):
        return fit_model_set(write("base", base), {name: write(name, tensors) for name, tensors in tuned.items()}, private)

    return fit


def weights(seed, dtype=torch.float32, **more):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"embed": (7, 3), "proj": (3, 3), "bias": (3,)}
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()} | more


class TestRoles:
    def test_mixed_dtypes_are_merged_and_integers_kept(self, fit):
        steps = torch.tensor(9)
        models = fit(
            weights(0, torch.bfloat16, steps=steps),
            {"a": weights(1, steps=steps), "b": weights(2, torch.float16, steps=steps)},
        )
        assert models.tuned == ("a", "b")
        assert models.sizes == {"bias": 3, "embed": 21, "proj": 9}
        assert models.roles.kept == ("steps",)

    def test_deltas_are_differences_in_float32(self, fit):
        base, a, b = weights(0, torch.bfloat16), weights(1, torch.bfloat16), weights(2)
        deltas = fit(base, {"a": a, "b": b}).deltas("embed", 4, 11)
        expected = [(tuned["embed"].float() - base["embed"].float()).flatten()[4:11] for tuned in (a, b)]
        assert deltas.dtype is torch.float32 and torch.equal(deltas, torch.stack(expected))

    def test_tensors_that_the_base_lacks_are_private(self, fit):
        head = torch.ones(2, 3)
        models = fit(weights(0), {"a": weights(1, **{"classifier.weight": head}), "b": weights(2)})
        assert models.private == {"a": ("classifier.weight",), "b": ()}
        assert torch.equal(models.private_tensor("a", "classifier.weight"), head)

    def test_heads_of_other_shapes_are_private_when_named(self, fit):
        tuned = {"a": weights(1, head=torch.ones(4, 3)), "b": weights(2, head=torch.ones(5, 3))}
        models = fit(weights(0, head=torch.ones(2, 3)), tuned, private=["^head$"])
        assert models.roles.own == ("head",) and "head" not in models.sizes
        assert models.private_tensor("b", "head").shape == (5, 3)

    def test_counters_that_differ_may_be_named_private(self, fit):
        tuned = {"a": weights(1, steps=torch.tensor(1)), "b": weights(2, steps=torch.tensor(2))}
        assert fit(weights(0, steps=torch.tensor(0)), tuned, private=["steps"]).roles.own == ("steps",)


class TestTiedWeights:
    def test_a_copy_that_one_tuned_checkpoint_stores_is_not_private(self, fit):
        a = weights(1)
        models = fit(weights(0), {"a": a | {"lm_head": a["embed"]}, "b": weights(2)})
        assert models.private == {"a": (), "b": ()}

    def test_an_untied_copy_is_private(self, fit):
        a = weights(1)
        assert fit(weights(0), {"a": a | {"lm_head": a["embed"] + 1}, "b": weights(2)}).private["a"] == ("lm_head",)

    def test_a_copy_that_only_the_base_stores_stands_for_the_tuned_one(self, fit):
        base, a, b = weights(0), weights(1), weights(2)
        models = fit(base | {"lm_head": base["embed"]}, {"a": a, "b": b})
        assert torch.equal(models.deltas("lm_head", 0, 21), models.deltas("embed", 0, 21))

    def test_equal_biases_are_no_tie(self, fit):
        zeros = {"bias": torch.zeros(3)}
        with pytest.raises(MisfitError, match="other_bias: a has no such tensor"):
            fit(weights(0) | zeros | {"other_bias": torch.zeros(3)}, {"a": weights(1) | zeros, "b": weights(2) | zeros})


class TestMisfits:
    def test_every_misfit_of_every_checkpoint_is_named_at_once(self, fit):
        base = weights(0, steps=torch.tensor(1), mask=torch.tensor([True]), extra=torch.ones(2))
        good = {"steps": torch.tensor(1), "mask": torch.tensor([True]), "extra": torch.ones(2)}
        wrong = {"embed": torch.ones(8, 3), "steps": torch.tensor(2), "mask": torch.tensor([1.0]), "extra": torch.tensor([1, 2])}
        lacking = {name: tensor for name, tensor in weights(2, **good).items() if name != "proj"}
        with pytest.raises(MisfitError) as caught:
            fit(base, {"a": weights(1) | wrong, "b": lacking})
        named = "\n".join(caught.value.faults)
        assert len(caught.value.faults) == 5
        assert "embed: a has F32 [8, 3], the base F32 [7, 3]" in named
        assert "steps: a has other values" in named and "mask: a has dtype F32" in named and "extra: a has dtype I64" in named
        assert "proj: b has no such tensor, the base has one of F32 [3, 3]" in named

    @pytest.mark.parametrize("count", [0, 1])
    def test_fewer_than_two_tuned(self, fit, count):
        with pytest.raises(MisfitError, match="at least two"):
            fit(weights(0), {f"t{number}": weights(number + 1) for number in range(count)})

    def test_the_same_weights_twice_in_another_dtype(self, fit):
        a = weights(1, torch.bfloat16)
        with pytest.raises(MisfitError, match="a and b hold the same weights"):
            fit(weights(0), {"a": a, "b": {name: tensor.float() for name, tensor in a.items()}})

    def test_a_tuned_checkpoint_equal_to_the_base(self, fit):
        with pytest.raises(MisfitError) as caught:
            fit(weights(0), {"a": weights(0), "b": weights(1), "c": weights(0)})
        assert len(caught.value.faults) == 3 and "a: holds the base's own weights" in caught.value.faults[0]

    def test_a_difference_far_behind_the_sample_tells_two_apart(self, fit):
        long = torch.zeros(3_000_000)
        late = long.clone()
        late[2_500_000] = 1
        assert fit({"w": long}, {"a": {"w": late}, "b": {"w": late * 2}}).tuned == ("a", "b")

    def test_a_base_of_integers_alone(self, fit):
        steps = {"steps": torch.tensor(1)}
        with pytest.raises(MisfitError, match="no floating tensor"):
            fit(steps, {"a": steps, "b": steps})

    def test_an_expression_that_is_none(self, fit):
        with pytest.raises(MisfitError, match="private: .* is no regular expression"):
            fit(weights(0), {"a": weights(1), "b": weights(2)}, private=["(head"])

    def test_an_adapter_as_the_base(self, tmp_path):
        save_file({"x": torch.zeros(1)}, tmp_path / "adapter_model.safetensors")
        (tmp_path / "adapter_config.json").write_text("{}")
        adapter = open_layout(tmp_path)
        with pytest.raises(MisfitError, match="the base is an adapter"):
            fit_model_set(adapter, {"a": adapter, "b": adapter})
