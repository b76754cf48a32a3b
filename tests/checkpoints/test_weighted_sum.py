import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from checkpoints.weighted_sum import Term, write_sum

HALVES = [torch.bfloat16, torch.float16]
DTYPES = [*HALVES, torch.float32, torch.float64]
SEVERAL_TILES = 2500


def every_half(dtype):
    """All 65,536 patterns of 16 bits that stand for a finite number."""
    values = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    return values[values.isfinite()]


def written(base, terms, dtype):
    out = torch.full((len(base),), 7, dtype=dtype)
    assert write_sum(base, terms, out)
    return out


class TestReading:
    @pytest.mark.parametrize("dtype", HALVES, ids=str)
    def test_every_half_is_widened_to_its_own_value(self, dtype):
        values = every_half(dtype)
        assert torch.equal(written(values, [], torch.float64), values.double())

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_more_than_a_tile(self, dtype):
        values = torch.randn(SEVERAL_TILES, generator=torch.Generator().manual_seed(0)).to(dtype)
        assert torch.equal(written(values, [], torch.float64), values.double())


class TestRounding:
    @pytest.mark.parametrize("dtype", HALVES, ids=str)
    def test_every_half_comes_back_with_its_sign(self, dtype):
        values = every_half(dtype)
        # the sum of nothing and minus zero is plus zero
        assert torch.equal(written(values, [], dtype).view(torch.int16), (values + 0.0).view(torch.int16))

    @pytest.mark.parametrize("dtype", HALVES, ids=str)
    def test_between_two_halves_to_the_nearest_and_to_even(self, dtype):
        values = every_half(dtype).double().unique()
        middle = (values[1:] + values[:-1]) / 2
        around = torch.cat([middle, torch.nextafter(middle.float(), torch.tensor(torch.inf)).double(), values[1:] * (1 + 2**-20)])
        around = around[around.float().to(dtype).isfinite()]
        assert torch.equal(written(around, [], dtype), around.float().to(dtype))

    @given(st.lists(st.floats(-60000, 60000), min_size=1, max_size=50))
    def test_as_torch_rounds(self, drawn):
        values = torch.tensor(drawn, dtype=torch.float64)
        for dtype in (*HALVES, torch.float32):
            assert torch.equal(written(values, [], dtype), values.float().to(dtype))


class TestStrays:
    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    @pytest.mark.parametrize("stray", [torch.inf, -torch.inf, torch.nan])
    @pytest.mark.parametrize("place", [0, 1500, SEVERAL_TILES - 1])
    def test_of_the_inputs_are_told(self, dtype, stray, place):
        base, row = torch.ones(SEVERAL_TILES, dtype=dtype), torch.ones(SEVERAL_TILES, dtype=dtype)
        row[place] = stray
        assert not write_sum(base, [Term(0.5, row, whole=True)], torch.empty_like(base))
        assert not write_sum(row, [], torch.empty_like(base))

    @pytest.mark.parametrize(("dtype", "largest"), [(torch.float16, 65504.0), (torch.bfloat16, 3.3895313892515355e38)], ids=str)
    def test_of_the_rounding_are_told(self, dtype, largest):
        base, out = torch.full((8,), largest, dtype=torch.float64), torch.empty(8, dtype=dtype)
        assert write_sum(base * (1 + 2**-13), [], out) and torch.equal(out, torch.full((8,), largest).to(dtype))
        assert not write_sum(base * (1 + 2**-8), [], out)


@given(st.data())
def test_is_the_float64_formula_whatever_the_dtypes(data):
    count, length = data.draw(st.integers(0, 4)), data.draw(st.integers(1, 40))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))

    def row():
        return torch.randn(length, generator=generator).to(data.draw(st.sampled_from(DTYPES)))

    base, terms = row(), [Term(data.draw(st.floats(-2, 2)), row(), data.draw(st.booleans())) for _ in range(count)]
    expected = torch.zeros(length, dtype=torch.float64)
    for term in terms:
        expected += term.coefficient * (term.values.double() - base.double() if term.whole else term.values.double())
    assert torch.equal(written(base, terms, torch.float64), expected + base.double())
