import math

import pytest
import torch
from safetensors.torch import save_file

from checkpoints.errors import NotFiniteError
from checkpoints.finite import check_finite, count_stray
from checkpoints.layout import open_layout
from checkpoints.model_set import fit_model_set

SIZE = 300_000  # more than one block


@pytest.fixture
def build(tmp_path):
    def build(spoil, dtype=torch.float32):
        layouts = {}
        for number, name in enumerate(("base", "a", "b")):
            tensors = {"w": torch.full((SIZE,), float(number), dtype=dtype), "head": torch.ones(number + 1)}
            for tensor, position, value in spoil.get(name, ()):
                tensors[tensor][position] = value
            save_file(tensors, tmp_path / f"{name}.safetensors")
            layouts[name] = open_layout(tmp_path / f"{name}.safetensors")
        return fit_model_set(layouts.pop("base"), layouts, private=["head"])

    return build


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_every_tensor_with_its_count(build, dtype):
    spoil = {"base": [("w", 0, math.nan)], "b": [("w", 5, math.inf), ("w", SIZE - 1, -math.inf), ("head", 0, math.nan)]}
    with pytest.raises(NotFiniteError) as caught:
        check_finite(build(spoil, dtype))
    assert caught.value.faults == (
        f"the base: w: 1 of {SIZE} values are NaN or infinite",
        f"b: w: 2 of {SIZE} values are NaN or infinite",
        "b: head: 1 of 3 values are NaN or infinite",
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_finite_values_pass(build, dtype):
    check_finite(build({}, dtype))


def test_sums_beyond_the_dtype_are_no_fault():
    assert count_stray(torch.full((1000,), 65504.0, dtype=torch.float16)) == 0


def test_infinities_that_cancel_are_counted():
    assert count_stray(torch.tensor([math.inf, -math.inf, 1.0])) == 2


def test_integers_have_none():
    assert count_stray(torch.tensor([2**62, 2**62])) == 0
