"""Trials of a digits model set against the same merges done by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score

from app.datasets.split import split_rows
from app.domain.errors import MeasurementError
from app.domain.study import SpaceSpec, TransformSpec
from app.domain.trial import Proposal
from workers.evaluators.build import build_evaluator
from workers.evaluators.factory import build_factory_network


def proposal(*coefficients, split="search", transform=None):
    return Proposal("design", split, coefficients, transform=transform or TransformSpec())


def outputs_by_hand(study, weights, task):
    """All examples through a plain module with `weights`, and the task's head."""
    module = build_factory_network(study.architecture).module
    module.load_state_dict(weights)
    heads = load_file(study.tasks[0].head.split("#")[0])
    images = torch.from_numpy(load_digits().data).float() / 16
    with torch.inference_mode():
        return torch.nn.functional.linear(module(images), heads[f"{task}.weight"], heads.get(f"{task}.bias"))


def merged_by_hand(study, *coefficients):
    base = load_file(study.models.base)
    tuned = [load_file(path) for path in study.models.tuned.values()]
    return {
        name: theta + sum(c * (other[name] - theta) for c, other in zip(coefficients, tuned, strict=True))
        if theta.is_floating_point()
        else theta
        for name, theta in base.items()
    }


class TestScores:
    @pytest.mark.parametrize("coefficients", [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.4, 0.7)])
    @pytest.mark.parametrize("split", ["search", "report"])
    def test_are_those_of_the_merge_on_the_split(self, digits_study, coefficients, split):
        evaluation = build_evaluator(digits_study, "cpu").evaluate(proposal(*coefficients, split=split))
        rows = split_rows(1797, digits_study.tasks[0].split).rows(split)
        weights = merged_by_hand(digits_study, *coefficients)
        for task, targets in (("ten", load_digits().target), ("odd", load_digits().target % 2)):
            outputs = outputs_by_hand(digits_study, weights, task)[rows]
            assert evaluation.scores[task] == pytest.approx(accuracy_score(targets[rows], outputs.argmax(1)), abs=2 / len(rows))
            torch.testing.assert_close(evaluation.outputs[task].float(), outputs, atol=2e-2, rtol=2e-3)
            assert evaluation.outputs[task].dtype == torch.float16

    def test_scorers_agree_with_the_evaluation(self, digits_study):
        evaluator = build_evaluator(digits_study, "cpu")
        evaluation = evaluator.evaluate(proposal(0.3, 0.3))
        for task, scorer in evaluator.scorers.items():
            again = float(scorer.score(evaluation.outputs[task][None]))
            assert again == pytest.approx(evaluation.scores[task], abs=3 / scorer.examples("search"))  # float16 may turn a near tie

    def test_repeat_exactly_whatever_was_measured_between(self, digits_study):
        evaluator = build_evaluator(digits_study, "cpu")
        first = evaluator.evaluate(proposal(0.2, 0.9))
        evaluator.evaluate(proposal(1.0, 1.0, split="report"))
        evaluator.evaluate(proposal(1.0, 1.0, transform=TransformSpec("ties", density=0.2)))
        evaluator.evaluate(proposal(0.3, 0.3, transform=TransformSpec("dare", drop=0.5)))
        again = evaluator.evaluate(proposal(0.2, 0.9))
        assert again.scores == first.scores
        assert all(torch.equal(again.outputs[task], first.outputs[task]) for task in first.outputs)

    def test_do_not_depend_on_batches(self, digits_study, with_task):
        whole = build_evaluator(digits_study, "cpu").evaluate(proposal(0.5, 0.5))
        cut = build_evaluator(with_task(digits_study, batch=7), "cpu").evaluate(proposal(0.5, 0.5))
        torch.testing.assert_close(cut.outputs["ten"], whole.outputs["ten"], atol=1e-2, rtol=1e-2)

    @pytest.mark.parametrize("metric", ["balanced_accuracy", "f1", "matthews", "auroc", "nll", "perplexity", "entropy"])
    def test_every_metric_of_classes(self, digits_study, with_task, metric):
        evaluator = build_evaluator(with_task(digits_study, metric=metric), "cpu")
        assert np.isfinite(evaluator.evaluate(proposal(0.5, 0.5)).scores["ten"])

    def test_regression_reads_values(self, digits_study, with_task, tmp_path):
        digits = load_digits()
        images, targets = torch.from_numpy(digits.data).float().contiguous() / 16, torch.from_numpy(digits.target).float()
        save_file({"inputs": images, "targets": targets}, tmp_path / "values.safetensors")
        save_file({"weight": torch.randn(1, 16)}, tmp_path / "head.safetensors")
        study = with_task(digits_study, data=str(tmp_path / "values.safetensors"), head=str(tmp_path / "head.safetensors"), metric="mse")
        evaluation = build_evaluator(study, "cpu").evaluate(proposal(0.0, 0.0))
        rows = split_rows(1797, study.tasks[0].split).search
        expected = (evaluation.outputs["ten"][:, 0].double() - targets[rows]).square().mean()
        assert evaluation.scores["ten"] == pytest.approx(float(expected), rel=1e-3)


class TestPasses:
    def test_tasks_of_one_dataset_share_a_run(self, digits_study):
        data = digits_study.tasks[0].data
        shared = replace(digits_study, tasks=tuple(replace(task, data=data, metric="entropy") for task in digits_study.tasks))
        apart, together = build_evaluator(digits_study, "cpu"), build_evaluator(shared, "cpu")
        assert (len(apart.passes), len(together.passes)) == (2, 1)
        first, second = apart.evaluate(proposal(0.5, 0.1)), together.evaluate(proposal(0.5, 0.1))
        assert torch.equal(first.outputs["odd"], second.outputs["odd"])


class TestSpaces:
    def test_groups_have_coefficients_of_their_own(self, digits_study):
        grouped = replace(digits_study, space=SpaceSpec(groups=("layers.0",)))
        evaluator = build_evaluator(grouped, "cpu")
        assert evaluator.gram.shape == (4, 4)
        one = build_evaluator(digits_study, "cpu").evaluate(proposal(0.3, 0.6))
        same = evaluator.evaluate(proposal(0.3, 0.3, 0.6, 0.6))
        assert same.scores == one.scores

    def test_gram_holds_the_inner_products_of_task_vectors(self, digits_study):
        base, *tuned = (load_file(path) for path in (digits_study.models.base, *digits_study.models.tuned.values()))
        vectors = [torch.cat([(other[n] - t).flatten() for n, t in base.items() if t.is_floating_point()]).double() for other in tuned]
        expected = torch.stack(vectors) @ torch.stack(vectors).T
        torch.testing.assert_close(build_evaluator(digits_study, "cpu").gram, expected, rtol=1e-5, atol=1e-6)


class TestMemory:
    def test_streamed_equals_resident(self, digits_study):
        resident, streamed = build_evaluator(digits_study, "cpu"), build_evaluator(digits_study, "cpu", memory=20_000)
        assert resident.plan.startswith("resident on cpu")
        assert streamed.plan.startswith("streamed on cpu")
        for transform in (TransformSpec(), TransformSpec("ties", density=0.3)):
            point = proposal(0.4, 0.4, transform=transform)
            assert resident.evaluate(point).scores == streamed.evaluate(point).scores

    def test_two_merges_are_held_at_most(self, digits_study):
        evaluator = build_evaluator(digits_study, "cpu")
        for transform in (TransformSpec("ties", density=0.2), TransformSpec("dare", drop=0.9), TransformSpec("magnitude", density=0.5)):
            evaluator.evaluate(proposal(0.5, 0.5, transform=transform))
        assert list(evaluator.merges._held) == [TransformSpec(), TransformSpec("magnitude", density=0.5)]


class TestFailures:
    def test_outputs_that_are_not_finite_name_the_task_and_their_number(self, digits_study):
        evaluator = build_evaluator(digits_study, "cpu")
        with pytest.raises(MeasurementError, match=r"ten: the outputs of 719 of 719 examples are NaN or infinite"):
            evaluator.evaluate(proposal(1e30, 1e30))
        assert evaluator.evaluate(proposal(0.5, 0.5)).scores == build_evaluator(digits_study, "cpu").evaluate(proposal(0.5, 0.5)).scores

    def test_a_score_that_overflows(self, digits_study, with_task, loud_heads):
        evaluator = build_evaluator(with_task(digits_study, metric="perplexity"), "cpu")
        with pytest.raises(MeasurementError, match="ten: perplexity is inf on the search split"):
            evaluator.evaluate(proposal(0.5, 0.5))

    @pytest.mark.parametrize("error", [MemoryError("no"), torch.OutOfMemoryError("no"), RuntimeError("DefaultCPUAllocator: not enough")])
    def test_out_of_memory(self, digits_study, error):
        evaluator = build_evaluator(digits_study, "cpu")
        evaluator.network = replace(evaluator.network, run=lambda inputs: (_ for _ in ()).throw(error))
        with pytest.raises(MeasurementError, match="out of memory"):
            evaluator.evaluate(proposal(0.5, 0.5))

    def test_other_errors_come_out_as_they_are(self, digits_study):
        evaluator = build_evaluator(digits_study, "cpu")
        evaluator.network = replace(evaluator.network, run=lambda inputs: (_ for _ in ()).throw(RuntimeError("a defect")))
        with pytest.raises(RuntimeError, match="a defect"):
            evaluator.evaluate(proposal(0.5, 0.5))

    def test_outputs_beyond_float16_are_kept_finite(self, digits_study, loud_heads):
        evaluation = build_evaluator(digits_study, "cpu").evaluate(proposal(0.5, 0.5))
        assert all(torch.isfinite(outputs).all() for outputs in evaluation.outputs.values())
        assert evaluation.outputs["ten"].abs().max() == torch.finfo(torch.float16).max

    @pytest.fixture
    def loud_heads(self, tmp_path):
        """Heads that give logits of a million."""
        heads = {name: tensor * 1e6 for name, tensor in load_file(tmp_path / "heads.safetensors").items()}
        save_file(heads, tmp_path / "heads.safetensors")
