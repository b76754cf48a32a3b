import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkpoints.errors import MisfitError
from checkpoints.groups import Coefficients, Groups, group_tensors, spread_coefficients

LLAMA = [
    "lm_head.weight", "model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "model.layers.10.input_layernorm.weight",
    "model.layers.2.self_attn.q_proj.weight", "model.norm.weight",
]  # fmt: skip
RESNET = ["bn1.weight", "conv1.weight", "fc.bias", "layer1.0.conv1.weight", "layer1.1.conv1.weight", "layer2.0.downsample.0.weight"]


class TestGroupTensors:
    def test_task_puts_all_in_one(self):
        assert group_tensors(LLAMA) == Groups(("all",), dict.fromkeys(LLAMA, 0))

    def test_blocks_of_a_transformer_in_their_order(self):
        groups = group_tensors(LLAMA, "block")
        assert groups.labels == ("prologue", "model.layers.0", "model.layers.2", "model.layers.10", "epilogue")
        assert [groups.labels[groups.members[name]] for name in LLAMA] == [
            "epilogue", "prologue", "model.layers.0", "model.layers.10", "model.layers.2", "epilogue",
        ]  # fmt: skip

    def test_blocks_of_a_resnet(self):
        assert group_tensors(RESNET, "block").labels == ("prologue", "layer1.0", "layer1.1", "layer2.0", "epilogue")

    def test_a_sequence_of_bare_numbers(self):
        assert group_tensors(["0.weight", "2.weight", "10.weight"], "block").labels == ("0", "2", "10")

    def test_names_without_blocks(self):
        with pytest.raises(MisfitError, match="no tensor name holds a block number"):
            group_tensors(["conv1.weight", "fc.weight"], "block")

    def test_expressions_take_in_their_order_and_leave_a_rest(self):
        groups = group_tensors(LLAMA, ["self_attn", "layers", "embed"])
        assert groups.labels == ("self_attn", "layers", "embed", "rest")
        assert [groups.members[name] for name in LLAMA] == [3, 2, 1, 1, 0, 3]

    def test_expressions_that_cover_all_leave_no_rest(self):
        assert group_tensors(LLAMA, ["layers", "."]).labels == ("layers", ".")

    def test_every_idle_expression_is_named(self):
        with pytest.raises(MisfitError) as caught:
            group_tensors(LLAMA, ["layers", "layers.0", "vision"])
        assert len(caught.value.faults) == 2

    def test_an_expression_that_is_none(self):
        with pytest.raises(MisfitError, match="no regular expression"):
            group_tensors(LLAMA, ["(layers"])

    def test_an_unknown_word(self):
        with pytest.raises(MisfitError, match="expected task, block or a list"):
            group_tensors(LLAMA, "layer")


class TestCoefficients:
    def test_a_vector_holds_the_groups_of_the_first_checkpoint_first(self):
        groups = group_tensors(["a.0.w", "a.1.w"], "block")
        coefficients = spread_coefficients([1, 2, 3, 4], groups)
        assert coefficients.of("a.0.w") == (1, 3) and coefficients.of("a.1.w") == (2, 4)

    @pytest.mark.parametrize("vector", [[], [1.0], [1.0, 2.0, 3.0]])
    def test_vectors_that_do_not_divide(self, vector):
        with pytest.raises(MisfitError, match="do not divide into 2 groups"):
            spread_coefficients(vector, group_tensors(["a.0.w", "a.1.w"], "block"))

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_values_that_are_not_finite(self, value):
        with pytest.raises(MisfitError, match="not all finite"):
            Coefficients(((value,),), group_tensors(["a"]))

    def test_rows_of_another_width(self):
        with pytest.raises(MisfitError, match="need 1 values"):
            Coefficients(((1.0, 2.0),), group_tensors(["a"]))

    @given(st.lists(st.floats(-2, 2), min_size=1, max_size=6))
    def test_one_group_gives_every_tensor_the_whole_vector(self, vector):
        assert spread_coefficients(vector, group_tensors(LLAMA)).of(LLAMA[3]) == tuple(vector)


def test_a_group_without_members_cannot_be_built():
    with pytest.raises(MisfitError, match="at least one tensor"):
        Groups(("a", "b"), {"x": 0})
