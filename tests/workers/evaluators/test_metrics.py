"""Metrics against scikit-learn and scipy, and their smooth forms."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import spearmanr
from sklearn import metrics as reference
from sklearn.metrics import log_loss

from app.domain.task import METRICS
from workers.evaluators.scorer import TaskScorer, output_kind

CLASSES = ("accuracy", "balanced_accuracy", "f1", "matthews", "auroc", "nll", "perplexity", "entropy")
VALUES = ("mse", "mae", "spearman")


def entropy(shares):
    return -(shares * np.log(shares)).sum(1).mean()


REFERENCE = {
    "accuracy": lambda y, z: reference.accuracy_score(y, z.argmax(1)),
    "balanced_accuracy": lambda y, z: reference.recall_score(y, z.argmax(1), average="macro", labels=np.unique(y)),
    "f1": lambda y, z: reference.f1_score(y, z.argmax(1), average="macro"),
    "matthews": lambda y, z: reference.matthews_corrcoef(y, z.argmax(1)),
    "auroc": lambda y, z: (
        reference.roc_auc_score(y, z[:, 1] - z[:, 0]) if z.shape[1] == 2 else reference.roc_auc_score(y, softmax(z, 1), multi_class="ovr")
    ),
    "nll": lambda y, z: log_loss(y, softmax(z, 1), labels=range(z.shape[1])),
    "perplexity": lambda y, z: np.exp(log_loss(y, softmax(z, 1), labels=range(z.shape[1]))),
    "entropy": lambda y, z: entropy(softmax(z, 1)),
    "mse": reference.mean_squared_error,
    "mae": reference.mean_absolute_error,
    "spearman": lambda y, z: spearmanr(y[:, 0], z[:, 0]).statistic,
}


def scorer(metric, targets):
    targets = torch.as_tensor(targets)
    return TaskScorer(METRICS[metric], output_kind(metric, False), {"search": targets, "report": targets[:1]})


def classes_at_hand(classes, examples=60, candidates=4, seed=0):
    generator = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(classes), generator.integers(0, classes, examples - classes)])
    return targets, generator.normal(size=(candidates, examples, classes)) * 2


class TestAgainstReferences:
    @pytest.mark.parametrize("metric", CLASSES)
    @pytest.mark.parametrize("classes", [2, 5])
    def test_classes(self, metric, classes):
        targets, outputs = classes_at_hand(classes)
        expected = [REFERENCE[metric](targets, candidate) for candidate in outputs]
        assert scorer(metric, targets).score(torch.from_numpy(outputs)).tolist() == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize("metric", VALUES)
    @pytest.mark.parametrize("columns", [1, 3])
    def test_values(self, metric, columns):
        if metric == "spearman":
            columns = 1
        generator = np.random.default_rng(1)
        targets, outputs = generator.normal(size=(40, columns)), generator.normal(size=(3, 40, columns)).round(1)
        expected = [REFERENCE[metric](targets, candidate) for candidate in outputs]
        assert scorer(metric, targets).score(torch.from_numpy(outputs)).tolist() == pytest.approx(expected, abs=1e-12)

    @pytest.mark.filterwarnings("ignore:A single label was found")
    @settings(max_examples=60, deadline=None)
    @given(data=st.data(), classes=st.integers(2, 4), examples=st.integers(1, 12))
    def test_counts_of_few_examples_with_classes_that_do_not_occur(self, data, classes, examples):
        numbers = st.lists(st.integers(0, classes - 1), min_size=examples, max_size=examples)
        targets, predicted = np.array(data.draw(numbers)), np.array(data.draw(numbers))
        outputs = torch.nn.functional.one_hot(torch.from_numpy(predicted), classes)[None].double()
        for metric in ("accuracy", "f1", "matthews", "balanced_accuracy"):
            expected = REFERENCE[metric](targets, outputs[0].numpy())
            assert float(scorer(metric, targets).score(outputs)) == pytest.approx(expected, abs=1e-12), metric

    def test_losses_are_weighted_by_their_tokens(self):
        weights = torch.tensor([1.0, 3.0])
        scores = {
            metric: TaskScorer(METRICS[metric], "losses", {"search": weights, "report": weights}).score(torch.tensor([[[1.0], [2.0]]]))
            for metric in ("nll", "perplexity")
        }
        assert float(scores["nll"]) == pytest.approx(7 / 4)
        assert float(scores["perplexity"]) == pytest.approx(np.exp(7 / 4))

    def test_equal_outputs_rank_nothing(self):
        targets = torch.arange(5.0)[:, None]
        assert float(scorer("spearman", targets).score(torch.ones(1, 5, 1))) == 0.0
        assert float(scorer("spearman", targets).smooth(torch.ones(1, 5, 1))) == 0.0


class TestManyCandidates:
    @pytest.mark.parametrize("metric", CLASSES)
    def test_candidates_do_not_mix(self, metric, monkeypatch):
        targets, outputs = classes_at_hand(3, candidates=7)
        task = scorer(metric, targets)
        alone = torch.cat([task.score(torch.from_numpy(candidate[None])) for candidate in outputs])
        monkeypatch.setattr("workers.evaluators.scorer._CHUNK", 400)  # two candidates at once
        assert task.score(torch.from_numpy(outputs)).tolist() == pytest.approx(alone.tolist(), abs=1e-12)

    def test_float16_outputs_as_trials_keep_them(self):
        targets, outputs = classes_at_hand(3)
        whole = scorer("nll", targets).score(torch.from_numpy(outputs))
        kept = scorer("nll", targets).score(torch.from_numpy(outputs).half())
        assert kept.tolist() == pytest.approx(whole.tolist(), abs=2e-3)

    def test_either_split_has_its_own_targets(self):
        task = TaskScorer(METRICS["accuracy"], "logits", {"search": torch.tensor([0, 1]), "report": torch.tensor([1])})
        right = torch.tensor([[[0.0, 1.0]]])
        assert float(task.score_on("report", right)) == 1.0
        assert float(task.score(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]))) == 0.5
        assert (task.examples("search"), task.examples("report")) == (2, 1)


class TestSmooth:
    @pytest.mark.parametrize("metric", CLASSES)
    def test_has_a_gradient_of_every_candidate(self, metric):
        targets, outputs = classes_at_hand(3)
        leaf = torch.from_numpy(outputs).requires_grad_()
        scorer(metric, targets).smooth(leaf).sum().backward()
        assert torch.isfinite(leaf.grad).all()
        assert (leaf.grad.abs().sum((1, 2)) > 0).all()

    @pytest.mark.parametrize("metric", CLASSES)
    def test_gradient_is_that_of_the_function(self, metric):
        targets, outputs = classes_at_hand(3, examples=8, candidates=1)
        leaf = torch.from_numpy(outputs).requires_grad_()
        assert torch.autograd.gradcheck(scorer(metric, targets).smooth, leaf)

    @pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "f1", "matthews", "auroc"])
    @pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
    def test_of_clear_decisions_is_the_metric_at_any_scale(self, metric, scale):
        targets, _ = classes_at_hand(4)
        predicted = np.where(np.arange(len(targets)) % 5 == 0, (targets + 1) % 4, targets)
        outputs = torch.nn.functional.one_hot(torch.from_numpy(predicted), 4)[None].double() * scale
        task = scorer(metric, targets)
        assert float(task.smooth(outputs)) == pytest.approx(float(task.score(outputs)), abs=0.06)

    @pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "f1", "matthews", "auroc"])
    def test_rises_with_the_metric(self, metric):
        targets, outputs = classes_at_hand(3, candidates=1)
        right = np.eye(3)[targets]
        better = torch.from_numpy(np.stack([outputs[0] + strength * right for strength in (0.0, 0.5, 1.0, 2.0, 4.0)]))
        assert (scorer(metric, targets).smooth(better).diff() > 0).all()

    @pytest.mark.parametrize("metric", ["nll", "perplexity", "entropy", "mse", "mae"])
    def test_metrics_without_steps_are_their_own(self, metric):
        targets, outputs = classes_at_hand(3)
        if metric in VALUES:
            targets = np.random.default_rng(3).normal(size=(60, 3))
        task = scorer(metric, targets)
        assert task.smooth(torch.from_numpy(outputs)).tolist() == pytest.approx(task.score(torch.from_numpy(outputs)).tolist())

    def test_outputs_that_are_all_equal_stay_finite(self):
        targets, _ = classes_at_hand(3)
        leaf = torch.zeros(1, len(targets), 3, requires_grad=True)
        for metric in CLASSES:
            scorer(metric, targets).smooth(leaf).sum().backward()
            assert torch.isfinite(leaf.grad).all(), metric


class TestBounds:
    def test_scores_stay_inside_their_bounds(self):
        targets, _ = classes_at_hand(3)
        perfect = torch.nn.functional.one_hot(torch.from_numpy(targets), 3)[None].double() * 50
        for metric in CLASSES:
            score, bounds = float(scorer(metric, targets).score(perfect)), METRICS[metric]
            assert bounds.low is None or score >= bounds.low
            assert bounds.high is None or score <= bounds.high
