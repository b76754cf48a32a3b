import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from checkpoints.model_card import CardFacts, Ingredient, TaskScores, describe_transform, write_card
from checkpoints.transforms.spec import Dare, Magnitude, NoTransform, Scope, Ties


def facts(**changes):
    given_facts = {
        "title": "digits, point 7",
        "base": Ingredient("base", "models/base.safetensors", "sha256:00"),
        "tuned": [Ingredient("plain", "./plain", "sha256:01"), Ingredient("rotated", "rotated", "sha256:02", "someone/rotated")],
        "groups": ["all"],
        "coefficients": {"plain": [0.1 + 0.2], "rotated": [-1.0]},
        "transform": Ties(0.2),
        "scores": [TaskScores("plain", "accuracy", 0.91234, (0.9, 0.92), 0.91, 0.905), TaskScores("rotated", "nll", report=1.5)],
        "versions": {"mergefront": "0.1.0", "torch": "2.13.0"},
        "commands": ["mergefront merge study.yaml --at 0.3,-1.0 --out merged"],
    }
    return CardFacts(**(given_facts | changes))


def table(card, first):
    """Rows of the table whose head begins with `first`, as lists of cells."""
    lines = card.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} "))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return [rows[0], *rows[2:]]


class TestCard:
    def test_front_matter_links_what_a_hub_knows(self):
        _, matter, _ = write_card(facts()).split("---\n", 2)
        document = yaml.safe_load(matter)
        assert document["tags"] == ["merge", "mergefront", "model-merging"]
        assert document["base_model"] == ["someone/rotated"]

    def test_files_of_this_machine_are_no_links(self):
        card = write_card(facts(tuned=[Ingredient("a", "models/a", "x"), Ingredient("b", "./b", "y")]))
        assert "base_model" not in yaml.safe_load(card.split("---\n", 2)[1])

    def test_ingredients_with_digests(self):
        rows = table(write_card(facts()), "checkpoint | role")
        assert rows[1] == ["base", "base", "`models/base.safetensors`", "`sha256:00`"]
        assert rows[3] == ["rotated", "fine-tune", "`rotated`", "`sha256:02`"]

    @given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2))
    def test_coefficients_read_back_exactly(self, values):
        card = write_card(facts(coefficients={"plain": [values[0]], "rotated": [values[1]]}))
        assert [float(row[1]) for row in table(card, "checkpoint | coefficient")[1:]] == values

    def test_a_column_for_each_group(self):
        card = write_card(facts(groups=["layers.0", "rest"], coefficients={"plain": [0.5, 1.0], "rotated": [0.0, 2.0]}))
        assert table(card, "checkpoint | layers.0") == [
            ["checkpoint", "layers.0", "rest"],
            ["plain", "0.5", "1.0"],
            ["rotated", "0.0", "2.0"],
        ]

    def test_scores_predicted_and_measured(self):
        rows = table(write_card(facts()), "task")
        assert rows[1] == ["plain", "accuracy", "0.9123", "0.9 to 0.92", "0.91", "0.905"]
        assert rows[2] == ["rotated", "nll", "", "", "", "1.5"]

    def test_how_to_make_it_again(self):
        card = write_card(facts(notes=["The rank was cut to 8."]))
        assert "mergefront merge study.yaml --at 0.3,-1.0 --out merged" in card
        assert table(card, "program")[1:] == [["mergefront", "0.1.0"], ["torch", "2.13.0"]]
        assert "The rank was cut to 8." in card

    def test_sections_without_content_are_left_out(self):
        card = write_card(facts(scores=[], versions={}, commands=[]))
        assert "## Scores" not in card
        assert "## How" not in card

    def test_names_cannot_break_out(self):
        card = write_card(facts(title="a\n# b", coefficients={"x | y\n\n# z": [1.0]}))
        assert "# a # b" in card.splitlines()
        assert table(card, "checkpoint | coefficient")[1] == ["x \\| y # z", "1.0"]


@pytest.mark.parametrize(
    ("transform", "text"),
    [
        (NoTransform(), "none (task arithmetic)"),
        (Ties(0.2), "TIES (density 0.2 of the whole model)"),
        (Ties(0.2, Scope.TENSOR), "TIES (density 0.2 of each tensor)"),
        (Magnitude(0.5), "trimming by magnitude (density 0.5 of the whole model)"),
        (Dare(0.9, 3), "DARE (drop rate 0.9, seed 3)"),
    ],
)
def test_transform_in_words(transform, text):
    assert describe_transform(transform) == text
