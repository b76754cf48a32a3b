import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from checkpoints.combine import BLOCK, BlockMerger, Merge
from checkpoints.errors import MisfitError, NotFiniteError
from checkpoints.groups import group_tensors, spread_coefficients
from checkpoints.layout import open_layout
from checkpoints.model_set import fit_model_set

SHAPES = {"layers.0.w": (6, BLOCK + 37), "layers.1.w": (40, 7), "norm": (5,), "scale": ()}
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
TUNED = ("a", "b", "c")
VECTORS = [(0.3, 0.25, 0.2), (0.31847, 1.27, -0.0713), (0.5, 0.5, 0.5), (0.1, 0.9, 0.7)]
coefficient = st.one_of(st.sampled_from([0.0, 0.3, 0.25, 1.0, -1.0]), st.floats(-2, 2, allow_subnormal=False))


def draw(seed, dtype, around=None):
    generator = torch.Generator().manual_seed(seed)
    drawn = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    return {name: (tensor if around is None else around[name].float() + tensor / 4).to(dtype) for name, tensor in drawn.items()}


def fit(folder, base, tuned):
    for name, tensors in {"base": base, **tuned}.items():
        save_file(tensors, folder / f"{name}.safetensors")
    layouts = {name: open_layout(folder / f"{name}.safetensors") for name in tuned}
    return fit_model_set(open_layout(folder / "base.safetensors"), layouts)


@pytest.fixture(scope="module")
def model_sets(tmp_path_factory):
    """One model set for each dtype; the tuned ones of "mixed" have a dtype each."""
    sets = {}
    for key, dtypes in {**{dtype: (dtype,) * 4 for dtype in DTYPES}, "mixed": (torch.bfloat16, *DTYPES[:3])}.items():
        base = draw(0, dtypes[0])
        tuned = {name: draw(number + 1, dtype, base) for number, (name, dtype) in enumerate(zip(TUNED, dtypes[1:], strict=True))}
        base["steps"] = torch.tensor(3)
        for tensors in tuned.values():
            tensors["steps"] = torch.tensor(3)
        sets[key] = fit(tmp_path_factory.mktemp("models"), base, tuned)
    return sets


def merger(models, vector, grouping="task", transform=None):
    return BlockMerger(Merge(models, spread_coefficients(vector, group_tensors(models.sizes, grouping)), transform))


def whole(merging, tensor):
    size = merging.merge.models.base.layout.entry(tensor).elements
    return torch.cat([merging.block(tensor, number) for number in range(-(-size // BLOCK))])


def reference(models, tensor, vector):
    base = models.base.flat(tensor).double()
    tuned = [source.weights(tensor, 0, len(base)).double() for source in models.sources.values()]
    return base + sum(c * (theta - base) for c, theta in zip(vector, tuned, strict=True))


def units_apart(left, right):
    """Distance in representable values: the bits of floats are ordered as their magnitudes are."""
    bits = {torch.float64: torch.int64, torch.float32: torch.int32}.get(left.dtype, torch.int16)
    ordered = [tensor.view(bits).long() for tensor in (left, right)]
    low = torch.iinfo(bits).min
    return (torch.where(ordered[0] < 0, low - ordered[0], ordered[0]) - torch.where(ordered[1] < 0, low - ordered[1], ordered[1])).abs()


def same_bits(left, right):
    return left.dtype is right.dtype and torch.equal(left.view(torch.uint8), right.view(torch.uint8))


class TestArithmetic:
    @pytest.mark.parametrize("kind", [torch.float32, torch.float64], ids=str)
    @pytest.mark.parametrize("vector", VECTORS)
    def test_is_the_float64_formula_rounded_once(self, model_sets, kind, vector):
        models = model_sets[kind]
        assert torch.equal(whole(merger(models, vector), "layers.0.w"), reference(models, "layers.0.w", vector).to(kind))

    @pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, "mixed"], ids=str)
    @pytest.mark.parametrize("vector", VECTORS)
    def test_results_of_16_bits_hardly_ever_round_another_way(self, model_sets, kind, vector):
        models = model_sets[kind]
        merged, exact = whole(merger(models, vector), "layers.0.w"), reference(models, "layers.0.w", vector)
        apart = units_apart(merged, exact.to(merged.dtype))
        assert (apart == 0).double().mean() >= 0.9999
        # where terms cancel to nothing the reference is noise of its own roundings, far below any weight
        assert bool(((apart <= 1) | (exact.abs() < 1e-14)).all())

    @pytest.mark.parametrize("kind", [*DTYPES[:3], "mixed"], ids=str)
    def test_is_within_one_unit_of_exact_arithmetic(self, model_sets, kind):
        """Against fractions without any rounding; where terms cancel to nothing, float64 itself is noise far below any weight."""
        models, vector = model_sets[kind], (0.3, 0.25, 0.2)
        merged = whole(merger(models, vector), "layers.1.w")
        columns = [models.base.flat("layers.1.w"), *(source.weights("layers.1.w", 0, 280) for source in models.sources.values())]
        rows = zip(*([Fraction(value) for value in column.double().tolist()] for column in columns), strict=True)
        exact = [float(base + sum(Fraction(c) * (theta - base) for c, theta in zip(vector, tuned, strict=True))) for base, *tuned in rows]
        apart = units_apart(merged, torch.tensor(exact, dtype=torch.float64).to(merged.dtype))
        assert bool(((apart <= 1) | (torch.tensor(exact).abs() < 1e-14)).all())

    @given(vector=st.tuples(coefficient, coefficient, coefficient))
    def test_small_tensors_too(self, model_sets, vector):
        for name in ("layers.1.w", "norm", "scale"):
            merged, exact = whole(merger(model_sets[torch.float32], vector), name), reference(model_sets[torch.float32], name, vector)
            assert torch.allclose(merged, exact.float(), rtol=2**-22, atol=1e-14)

    @given(left=st.tuples(coefficient, coefficient, coefficient), share=st.floats(0, 1))
    def test_linear_in_the_coefficients(self, model_sets, left, share):
        models, right = model_sets[torch.float64], (0.7, -0.2, 1.3)
        between = [share * one + (1 - share) * other for one, other in zip(left, right, strict=True)]
        merged = {vector: whole(merger(models, vector), "layers.1.w") for vector in (left, right, tuple(between))}
        expected = share * merged[left] + (1 - share) * merged[right]
        assert torch.allclose(merged[tuple(between)], expected, rtol=1e-12, atol=1e-12)


class TestExactness:
    @pytest.mark.parametrize("kind", DTYPES, ids=str)
    def test_zero_gives_the_bits_of_the_base(self, model_sets, kind):
        models = model_sets[kind]
        for tensor in models.sizes:
            assert same_bits(whole(merger(models, (0.0, 0.0, 0.0)), tensor), models.base.flat(tensor))

    @pytest.mark.parametrize("kind", DTYPES, ids=str)
    @pytest.mark.parametrize("number", range(3))
    def test_one_hot_gives_the_bits_of_the_tuned(self, model_sets, kind, number):
        models = model_sets[kind]
        one_hot = [float(number == other) for other in range(3)]
        for tensor, size in models.sizes.items():
            assert same_bits(whole(merger(models, one_hot), tensor), models.sources[TUNED[number]].weights(tensor, 0, size))

    def test_extreme_values_and_signs_of_zero_survive(self, tmp_path):
        base, a = torch.tensor([1e30, 0.0, 1.0]), torch.tensor([1e-30, -0.0, -0.0])
        models = fit(tmp_path, {"w": base}, {"a": {"w": a}, "b": {"w": base + 1}})
        assert same_bits(whole(merger(models, (1.0, 0.0)), "w"), a)

    def test_integers_stay(self, model_sets):
        assert whole(merger(model_sets[torch.float32], (0.5, 0.5, 0.5)), "steps").tolist() == [3]

    def test_a_tensor_without_elements_has_no_block_to_compute(self, tmp_path):
        empty = {"e": torch.zeros(0, 3)}
        models = fit(tmp_path, {"w": torch.zeros(2)} | empty, {"a": {"w": torch.ones(2)} | empty, "b": {"w": -torch.ones(2)} | empty})
        assert merger(models, (0.5, 0.1)).block("e", 0).numel() == 0


class TestGroupsAndTransforms:
    def test_each_group_has_its_own_coefficients(self, model_sets):
        models = model_sets[torch.float32]
        by_block = merger(models, [0.1, 0.2, 0.3] * 3, ["layers.0", "layers.1", "norm|scale"])
        for tensor, value in (("layers.0.w", 0.1), ("layers.1.w", 0.2), ("norm", 0.3)):
            assert same_bits(whole(by_block, tensor), whole(merger(models, [value] * 3), tensor))

    def test_a_transform_sees_every_task_vector_of_a_block(self, model_sets):
        class Strongest:
            """Keeps, in each place, the largest of the N entries: depends on vectors whose coefficient is zero."""

            def apply(self, tensor, start, deltas):
                return deltas * (deltas.abs() == deltas.abs().amax(0))

        models, vector = model_sets[torch.float32], (0.4, 0.0, 0.8)
        base, deltas = models.base.flat("layers.1.w").double(), models.deltas("layers.1.w", 0, 280)
        kept = (deltas * (deltas.abs() == deltas.abs().amax(0))).double()
        merged = whole(merger(models, vector, transform=Strongest()), "layers.1.w")
        assert torch.equal(merged, (base + 0.4 * kept[0] + 0.8 * kept[2]).float())

    def test_a_one_hot_under_a_transform_is_transformed(self, model_sets):
        class Halve:
            def apply(self, tensor, start, deltas):
                return deltas / 2

        models = model_sets[torch.float32]
        halved = whole(merger(models, (1.0, 0.0, 0.0), transform=Halve()), "norm")
        assert torch.allclose(halved, whole(merger(models, (0.5, 0.0, 0.0)), "norm"))


class TestRefuses:
    def test_rows_for_another_number_of_checkpoints(self, model_sets):
        with pytest.raises(MisfitError, match="2 rows of coefficients for 3"):
            merger(model_sets[torch.float32], (0.1, 0.2))

    def test_groups_of_other_tensors(self, model_sets):
        with pytest.raises(MisfitError, match="no group of the coefficients takes"):
            Merge(model_sets[torch.float32], spread_coefficients((0.1, 0.2, 0.3), group_tensors(["other"])))

    @pytest.mark.parametrize("vector", [(0.5, 0.5), (1.0, 0.0), (0.0, 0.0)])
    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_values_that_are_not_finite_where_they_are_used(self, tmp_path, vector, value):
        spoilt = torch.tensor([1.0, value])
        models = fit(tmp_path, {"w": spoilt}, {"a": {"w": spoilt + 1}, "b": {"w": torch.ones(2)}})
        with pytest.raises(NotFiniteError) as caught:
            merger(models, vector).block("w", 0)
        assert [fault.split(":")[0] for fault in caught.value.faults] == ["the base", "a"]

    def test_a_result_beyond_float16(self, tmp_path):
        half = torch.full((4,), 40_000.0, dtype=torch.float16)
        models = fit(tmp_path, {"w": half}, {"a": {"w": half * 1.5}, "b": {"w": -half}})
        with pytest.raises(NotFiniteError, match="exceed the range of F16"):
            merger(models, (1.5, 0.0)).block("w", 0)
