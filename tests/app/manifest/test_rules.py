"""Rules between keys that a method brings."""

import pytest

from app.domain.budget import least_budget, planes, trials_a_plane
from app.domain.study import (
    Architecture,
    FactoryArchitecture,
    MethodSpec,
    ModelSetSpec,
    SpaceSpec,
    StudySpec,
    SurrogateName,
    TransformersArchitecture,
)
from app.domain.task import SplitShares, TaskSpec
from app.manifest.rules import rule_faults

NAMES = ("one", "two", "three")
FACTORY = FactoryArchitecture("net.py", "Net")


def faults_of(method: MethodSpec, tasks: tuple[str, ...] = NAMES, space: SpaceSpec | None = None) -> set[str]:
    spec = StudySpec(
        name="rules",
        models=ModelSetSpec("base", {name: name for name in NAMES}),
        architecture=FactoryArchitecture("net.py", "Net"),
        tasks=tuple(TaskSpec(task, f"{task}.csv", "accuracy", SplitShares()) for task in tasks),
        space=space or SpaceSpec(),
        method=method,
    )
    return {fault.where for fault in rule_faults(spec)}


class TestNested:
    def test_nothing_is_wrong_with_a_task_a_model(self) -> None:
        assert not faults_of(MethodSpec("nested", preferences=({"one": 1.0, "two": 0.0, "three": 2.0},)))

    @pytest.mark.parametrize("preference", [{"one": 1.0}, {"one": 0.0, "two": 0.0, "three": 0.0}, {"one": 1.0, "two": 1.0, "four": 1.0}])
    def test_a_preference_weighs_every_task(self, preference: dict[str, float]) -> None:
        assert faults_of(MethodSpec("nested", preferences=(preference,))) == {"method"}

    def test_tasks_are_called_as_the_models(self) -> None:
        assert faults_of(MethodSpec("nested"), tasks=("one", "two", "four")) == {"tasks"}

    def test_a_box_that_products_leave_groups_and_quadratics_are_refused(self) -> None:
        found = faults_of(MethodSpec("nested", "quadratic"), space=SpaceSpec(-1.0, 1.0, "block"))
        assert found == {"space", "space.groups", "method.surrogate"}

    def test_too_few_trials_for_its_pairs(self) -> None:
        assert faults_of(MethodSpec("nested", budget=9)) == {"method.budget"}


def test_other_methods_take_no_preferences() -> None:
    assert faults_of(MethodSpec("map", preferences=({"one": 1.0, "two": 1.0, "three": 1.0},))) == {"method"}


class TestQuadraticOptions:
    @pytest.mark.parametrize("surrogate", ["gp", "output"])
    def test_what_no_quadratic_reads_is_refused(self, surrogate: SurrogateName) -> None:
        assert faults_of(MethodSpec(surrogate=surrogate, link="logit", ridge=0.1)) == {"method.link", "method.ridge"}

    @pytest.mark.parametrize("surrogate", ["quadratic", "auto"])
    def test_a_quadratic_may_be_fitted_as_one_likes(self, surrogate: SurrogateName) -> None:
        assert not faults_of(MethodSpec(surrogate=surrogate, link="logit", ridge=0.1))


class TestAdaMerging:
    @pytest.mark.parametrize(("metric", "architecture", "faults"), [
        ("accuracy", FACTORY, set()),
        ("entropy", FACTORY, set()),
        ("mse", FACTORY, {"baselines"}),
        ("nll", TransformersArchitecture("AutoModelForCausalLM"), {"baselines"}),
    ])  # fmt: skip
    def test_it_needs_logits(self, metric: str, architecture: Architecture, faults: set[str]) -> None:
        tasks = tuple(TaskSpec(name, f"{name}.csv", metric, SplitShares()) for name in NAMES)
        models = ModelSetSpec("base", {name: name for name in NAMES})
        spec = StudySpec("rules", models, architecture, tasks, method=MethodSpec(), baselines=("adamerging",))
        assert {fault.where for fault in rule_faults(spec)} == faults


class TestShares:
    def test_eight_models_have_seven_pairs_of_which_the_first_four_are_shared(self) -> None:
        assert planes(MethodSpec("nested"), 8) == 7
        assert planes(MethodSpec("nested", preferences=({}, {}, {})), 8) == 4 + 3 * 3

    def test_the_least_budget_gives_every_pair_its_least(self) -> None:
        method = MethodSpec("nested", budget=least_budget(MethodSpec("nested"), 8))
        assert trials_a_plane(method, 8) == 3


class TestExact:
    def test_a_trial_more_than_there_are_coefficients_is_enough(self) -> None:
        assert not faults_of(MethodSpec("exact", budget=4))
        assert faults_of(MethodSpec("exact", budget=3)) == {"method.budget"}

    def test_a_surrogate_is_refused(self) -> None:
        assert faults_of(MethodSpec("exact", "gp")) == {"method.surrogate"}
