"""AdaMerging on digits networks: it lowers the entropy of predictions, and reads no label."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from app.domain.errors import RefusedError
from app.domain.study import SpaceSpec, TransformSpec
from app.domain.task import SplitShares, TaskSpec
from app.domain.trial import Proposal
from workers.evaluators.adamerging import START, _Slope
from workers.evaluators.build import build_evaluator

PLAIN = TransformSpec()


def entropy_at(study, coefficients):
    """Mean over tasks of the entropy of the predictions on the search split."""
    unlabelled = replace(study, tasks=tuple(replace(task, metric="entropy") for task in study.tasks))
    scores = build_evaluator(unlabelled, "cpu").evaluate(Proposal("design", "search", coefficients)).scores
    return sum(scores.values()) / len(scores)


@pytest.mark.parametrize("groups", ["task", "block"])
def test_entropy_is_lower_than_where_it_began(digits_study, groups):
    study = replace(digits_study, space=SpaceSpec(groups=groups))
    evaluator = build_evaluator(study, "cpu")
    found = evaluator.adamerge(PLAIN, study.space, 60, 0)
    assert len(found) == len(evaluator.gram)
    assert all(0 <= one <= 1 for one in found)
    assert entropy_at(study, found) < entropy_at(study, (START,) * len(found)) - 0.01


def test_labels_do_not_matter(digits_study):
    first = build_evaluator(digits_study, "cpu").adamerge(PLAIN, digits_study.space, 6, 0)
    for task in digits_study.tasks:
        data = load_file(task.data)
        save_file({**data, "targets": data["targets"].flip(0).contiguous()}, task.data)
    assert build_evaluator(digits_study, "cpu").adamerge(PLAIN, digits_study.space, 6, 0) == first


def test_seeds_draw_other_examples(digits_study):
    evaluator = build_evaluator(digits_study, "cpu")
    first, again, other = (evaluator.adamerge(PLAIN, digits_study.space, 4, seed) for seed in (1, 1, 2))
    assert first == again != other


def test_trials_after_it_are_those_before_it(digits_study):
    evaluator = build_evaluator(digits_study, "cpu")
    proposal = Proposal("design", "search", (0.4, 0.7))
    before = evaluator.evaluate(proposal)
    evaluator.adamerge(TransformSpec("ties", density=0.5), digits_study.space, 2, 0)
    after = evaluator.evaluate(proposal)
    assert after.scores == before.scores
    assert torch.equal(after.outputs["ten"], before.outputs["ten"])


def test_slopes_are_those_of_finite_differences(digits_study):
    """On one and the same draw of examples; running statistics, by which there is no slope, are kept as they are."""
    base = load_file(digits_study.models.base)
    for path in digits_study.models.tuned.values():
        save_file({name: base[name] if "running" in name else tensor for name, tensor in load_file(path).items()}, path)
    evaluator = build_evaluator(digits_study, "cpu")
    slope = _Slope(evaluator.parts(), PLAIN, evaluator.passes)

    def height(c: tuple[float, ...]) -> float:
        evaluator.assemble(Proposal("design", "search", c))
        with torch.no_grad():
            draw = torch.Generator().manual_seed(3)
            losses = [loss for one in evaluator.passes for loss in slope._entropies(one, {}, draw)]
        return float(torch.stack(losses).double().mean())

    step, at = 1e-3, (0.41, 0.57)
    across = (height((at[0] + step, at[1])) - height((at[0] - step, at[1]))) / (2 * step)
    up = (height((at[0], at[1] + step)) - height((at[0], at[1] - step))) / (2 * step)
    found = slope.at(at, torch.Generator().manual_seed(3))
    assert found.tolist() == pytest.approx([across, up], rel=0.05, abs=2e-3)


def test_heads_of_the_tasks_own_checkpoints_are_used(write_transformer, text_data, transformers_study):
    """Two sequence classifiers whose heads differ in their number of classes."""
    auto_class = "AutoModelForSequenceClassification"
    base, classes = write_transformer("base", auto_class), {"two": 2, "three": 3}
    tuned = {name: write_transformer(name, auto_class, seed=count, labels=count, like=base) for name, count in classes.items()}
    tasks = tuple(TaskSpec(name, text_data(name, count), "accuracy", SplitShares()) for name, count in classes.items())
    study = transformers_study(auto_class, base, tuned, tasks)
    found = build_evaluator(study, "cpu").adamerge(PLAIN, study.space, 4, 0)
    assert len(found) == 2 and all(0 <= one <= 1 for one in found) and found[0] != found[1]


def test_without_classes_there_is_no_entropy(digits_study):
    values = []
    for task in digits_study.tasks:
        data = load_file(task.data)
        save_file({**data, "targets": torch.nn.functional.one_hot(data["targets"], 10 if task.name == "ten" else 2).float()}, task.data)
        values.append(replace(task, metric="mse"))
    study = replace(digits_study, tasks=tuple(values))
    with pytest.raises(RefusedError, match="logits of classes"):
        build_evaluator(study, "cpu").adamerge(PLAIN, study.space, 2, 0)
