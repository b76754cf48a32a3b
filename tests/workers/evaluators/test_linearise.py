"""Tangent adapters measured: the network to first order, affine in the coefficients, as the model of one merged adapter gives it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from app.domain.errors import RefusedError
from app.domain.study import MethodSpec, ModelSetSpec, SpaceSpec, StudySpec, TransformSpec
from app.domain.task import SplitShares, TaskSpec
from app.domain.trial import Proposal
from checkpoints.linearised import merge_linearised, read_linearised
from surrogate.design import sobol_points
from surrogate.exact import affine_design, fit_exact
from surrogate.history import History, Outputs, Scale
from tests.tangent_set import write_adapter, write_tangents
from workers.adapters.tangent import load_tangent
from workers.evaluators.build import build_evaluator
from workers.evaluators.check import check_study
from workers.evaluators.factory import build_factory_network


@pytest.fixture
def tangent_study(digits_study: StudySpec, tmp_path: Path) -> StudySpec:
    network = build_factory_network(digits_study.architecture).module
    tuned = write_tangents(network, Path(digits_study.models.base), tmp_path, ("ten", "odd"))
    return replace(digits_study, models=ModelSetSpec(digits_study.models.base, tuned))


def measured(evaluator, *coefficients, split="search", transform=None):
    return evaluator.evaluate(Proposal("design", split, coefficients, transform=transform or TransformSpec()))


def affine(evaluator, coefficients, transform=None) -> Mapping[str, Tensor]:
    """Outputs by task as those of the origin and the steps along every coefficient say."""
    ends = [measured(evaluator, *row, transform=transform).outputs for row in affine_design(len(coefficients), 0.0, 1.0).tolist()]
    shares = [1 - sum(coefficients), *coefficients]
    return {task: sum(share * end[task].double() for share, end in zip(shares, ends, strict=True)).float() for task in ends[0]}


class TestOutputs:
    def test_are_those_of_the_model_of_the_merged_adapter(self, tangent_study, tmp_path):
        adapters = {name: read_linearised(Path(path)) for name, path in tangent_study.models.tuned.items()}
        directory = write_adapter(merge_linearised(adapters, (0.4, 0.7)), tmp_path / "merged")
        network = build_factory_network(tangent_study.architecture).module
        network.load_state_dict(load_file(tangent_study.models.base))
        model = load_tangent(network, directory)
        evaluator = build_evaluator(tangent_study, "cpu")
        head = evaluator.passes[0].heads["ten"]
        images = torch.cat([batch["inputs"] for batch in evaluator.passes[0].inputs["report"].batches])
        with torch.no_grad():
            expected = head.apply(model(images))
        found = measured(evaluator, 0.4, 0.7, split="report").outputs["ten"]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("transform", [None, TransformSpec("ties", density=0.3), TransformSpec("dare", drop=0.5)])
    def test_are_affine_in_the_coefficients_whatever_the_transform(self, tangent_study, transform):
        evaluator = build_evaluator(tangent_study, "cpu")
        for task, expected in affine(evaluator, (0.35, -0.6), transform).items():
            found = measured(evaluator, 0.35, -0.6, transform=transform).outputs[task]
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)

    def test_are_affine_in_the_coefficients_of_groups(self, tangent_study):
        evaluator = build_evaluator(replace(tangent_study, space=SpaceSpec(groups=("layers.0",))), "cpu")
        assert evaluator.gram.shape == (4, 4)
        for task, expected in affine(evaluator, (0.2, 0.9, 0.5, 0.1)).items():
            torch.testing.assert_close(measured(evaluator, 0.2, 0.9, 0.5, 0.1).outputs[task], expected, rtol=1e-5, atol=1e-4)

    def test_are_the_bases_at_the_origin(self, tangent_study, digits_study):
        linear, plain = build_evaluator(tangent_study, "cpu"), build_evaluator(digits_study, "cpu")
        for task, outputs in measured(plain, 0.0, 0.0).outputs.items():
            torch.testing.assert_close(measured(linear, 0.0, 0.0).outputs[task], outputs.float(), rtol=1e-2, atol=1e-2)

    def test_are_not_rounded(self, tangent_study):
        outputs = measured(build_evaluator(tangent_study, "cpu"), 0.5, 0.5).outputs["ten"]
        assert outputs.dtype == torch.float32
        assert not torch.equal(outputs, outputs.half().float())


class TestExactScores:
    def test_equal_measured_ones_at_200_random_merges(self, tangent_study, with_task):
        small = with_task(tangent_study, split=SplitShares(0.1, 0.1), batch=200)
        evaluator = build_evaluator(replace(small, tasks=small.tasks[:1]), "cpu")
        design = affine_design(2, -20.0, 20.0)
        trials = [measured(evaluator, *row) for row in design.tolist()]
        scorer = evaluator.scorers["ten"]
        values = torch.stack([trial.outputs["ten"] for trial in trials])
        scores = torch.tensor([trial.scores["ten"] for trial in trials], dtype=torch.float64)
        scale = Scale(0.0, 1.0, True, scorer.examples("search"), True)
        exact = fit_exact(History(design, scores, scale, Outputs(values, scorer.score, scorer.smooth, scorer.classes)))
        merges = 40 * sobol_points(2, 200, 1) - 20  # far out, where the drawn adapters turn many predictions
        found = torch.tensor([measured(evaluator, *row).scores["ten"] for row in merges.tolist()], dtype=torch.float64)
        assert len(found.unique()) > 20
        torch.testing.assert_close(exact.score(merges), found)


class TestTransformers:
    def test_fused_attention_is_taken_apart(self, write_transformer, text_data, transformers_study, tmp_path):
        base = write_transformer("base", "AutoModelForSequenceClassification")
        from transformers import AutoModelForSequenceClassification

        network = AutoModelForSequenceClassification.from_pretrained(base)
        assert network.config._attn_implementation == "sdpa"
        tuned = {name: Path(path) for name, path in write_tangents(network, base, tmp_path, ("one", "two"), ("query", "dense")).items()}
        tasks = tuple(TaskSpec(name, text_data(name, 2), "accuracy", SplitShares(), str(base)) for name in tuned)
        evaluator = build_evaluator(transformers_study("AutoModelForSequenceClassification", base, tuned, tasks), "cpu")
        for task, expected in affine(evaluator, (0.3, 0.8)).items():
            torch.testing.assert_close(measured(evaluator, 0.3, 0.8).outputs[task], expected, rtol=1e-4, atol=1e-5)

    def test_a_language_models_losses_are_refused(self, write_transformer, text_data, transformers_study, tmp_path):
        base = write_transformer("base", "AutoModelForCausalLM", "llama")
        from transformers import AutoModelForCausalLM

        tuned = write_tangents(AutoModelForCausalLM.from_pretrained(base), base, tmp_path, ("one", "two"), ("q_proj",))
        tasks = (TaskSpec("one", text_data("one", 0), "nll", SplitShares()),)
        study = transformers_study("AutoModelForCausalLM", base, {name: Path(path) for name, path in tuned.items()}, tasks)
        assert [str(fault) for fault in check_study(study)] == [
            "architecture: losses are not affine in what a linearised language model gives: its studies are not there yet"
        ]


class TestRefusals:
    def test_exact_is_for_tangent_adapters_alone(self, digits_study):
        study = replace(digits_study, method=MethodSpec("exact"))
        with pytest.raises(RefusedError, match=r"method\.name: exact needs outputs that are affine .*choose map, bayesian or nested"):
            build_evaluator(study, "cpu")

    def test_nothing_is_wrong_with_exact_for_tangent_adapters(self, tangent_study):
        assert check_study(replace(tangent_study, method=MethodSpec("exact"))) == []


class TestDeviation:
    def test_of_a_squared_error_is_that_of_its_examples(self, tangent_study, with_task):
        study = with_task(tangent_study, metric="nll", head=tangent_study.tasks[0].head)
        evaluator = build_evaluator(study, "cpu")
        scorer, outputs = evaluator.scorers["ten"], measured(evaluator, 0.5, 0.5).outputs["ten"]
        losses = nn.functional.cross_entropy(outputs, scorer.targets["search"], reduction="none")
        torch.testing.assert_close(scorer.deviation(outputs[None])[0].float(), losses.std() / len(losses) ** 0.5)
        perplexity = replace(scorer, metric=replace(scorer.metric, name="perplexity"))
        torch.testing.assert_close(perplexity.deviation(outputs[None]), scorer.deviation(outputs[None]) * losses.double().mean().exp())
