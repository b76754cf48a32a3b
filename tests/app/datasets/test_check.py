"""Faults of a dataset's labels and splits, and labels as metrics see them."""

import numpy as np
import pytest

from app.datasets.check import Scored, input_value_faults, split_faults, target_faults
from app.datasets.dataset import Arrays, Dataset, Texts
from app.datasets.labels import LabelError, class_numbers, values
from app.datasets.split import split_rows
from app.domain.task import METRICS, SplitShares

WHERE = "tasks.a.data"


def problems(targets, metric="accuracy", columns=None, outputs="logits", label2id=None):
    examples = 10 if targets is None else len(targets)
    dataset = Dataset(Arrays({"inputs": np.zeros((examples, 2))}), targets)
    scored = Scored(METRICS[metric], outputs, columns, label2id)
    faults = target_faults(dataset, split_rows(examples, SplitShares(0.5, 0.5)), scored, WHERE)
    assert all(fault.where == WHERE for fault in faults)
    return [fault.problem for fault in faults]


class TestSplitFaults:
    def test_names_each_empty_split(self):
        faults = split_faults(split_rows(3, SplitShares(0.1, 0.05)), 3, "tasks.a.split")
        assert [fault.where for fault in faults] == ["tasks.a.split.search", "tasks.a.split.report"]
        assert split_faults(split_rows(3, SplitShares(0.5, 0.5)), 3, "tasks.a.split") == []


class TestInputValueFaults:
    def test_names_the_input_and_how_many_values(self):
        stray = np.zeros((9000, 2), np.float32)
        stray[[3, 8999], 1] = [np.nan, np.inf]
        dataset = Dataset(Arrays({"inputs": stray, "mask": np.ones((9000, 2), np.int64)}), None)
        (fault,) = input_value_faults(dataset, WHERE)
        assert fault.where == WHERE and fault.problem.startswith("inputs holds 2 values that are not finite")

    def test_texts_and_finite_values_have_none(self):
        assert input_value_faults(Dataset(Texts(("a", "b")), None), WHERE) == []
        assert input_value_faults(Dataset(Arrays({"inputs": np.ones((3, 2))}), None), WHERE) == []


class TestTargetFaults:
    def test_good_labels_have_none(self):
        assert problems(np.arange(10) % 3, columns=3) == []
        assert problems(np.arange(10) % 2, "auroc", 2) == []
        assert problems(np.linspace(0, 1, 10), "mse", 1, "values") == []

    def test_no_targets_where_the_metric_needs_them(self):
        assert "no targets, which accuracy needs" in problems(None)[0]
        assert problems(None, "entropy") == []
        assert problems(None, "perplexity", outputs="losses") == []

    def test_labels_outside_the_head(self):
        assert problems(np.array([0, 3, 1, 7]), columns=3) == ["labels 3, 7 lie outside the head of 3 rows (labels 0 to 2)"]
        assert "labels -1 lie outside" in problems(np.array([0, -1]))[0]

    def test_labels_that_are_no_classes(self):
        assert "must be integers, got 0.5" in problems(np.array([0.0, 0.5]))[0]
        assert "must be integers, got nan" in problems(np.array([0.0, np.nan]))[0]
        assert "one class an example" in problems(np.zeros((4, 2)))[0]

    def test_auroc_needs_every_class_in_every_split(self):
        targets = np.array([0] * 9 + [1])
        assert "split lacks 1" in problems(targets, "auroc", 2)[0]

    def test_values(self):
        assert "2 targets an example, the model gives 1" in problems(np.zeros((4, 2)), "mse", 1, "values")[0]
        assert "spearman ranks one value" in problems(np.zeros((4, 2)), "spearman", 2, "values")[0]
        assert "NaN" in problems(np.array([1.0, np.inf]), "mae", 1, "values")[0]
        assert "must be numbers" in problems(("a", "b"), "mae", 1, "values")[0]


class TestClassNumbers:
    def test_names_in_sorted_order(self):
        assert class_numbers(("spam", "ham", "spam")).tolist() == [1, 0, 1]

    def test_names_of_the_model_itself(self):
        assert class_numbers(("spam", "ham"), {"spam": 0, "ham": 1}).tolist() == [0, 1]
        assert class_numbers(("spam", "ham"), {"LABEL_0": 0, "LABEL_1": 1}).tolist() == [1, 0]
        with pytest.raises(LabelError, match="'eggs' are not among the model's own: 'spam', 'ham'"):
            class_numbers(("spam", "eggs"), {"spam": 0, "ham": 1})

    def test_texts_that_spell_integers(self):
        assert class_numbers(("10", "9")).tolist() == [10, 9]

    def test_whole_floats(self):
        assert class_numbers(np.array([1.0, 0.0])).dtype == np.int64


class TestValues:
    def test_integers_are_values_too(self):
        assert values(np.array([1, 2])).tolist() == [1.0, 2.0]
