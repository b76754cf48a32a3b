"""Tasks that external evaluators score, in a manifest."""

from pathlib import Path

import pytest

from app.domain.task import ExternalTask
from app.manifest.read import parse_manifest
from tests.app.manifest.test_read import document, faults_of

FULL = {"name": "pass_rate", "direction": "maximize", "low": 0, "high": 1, "examples": 200}


def with_metric(metric, **changes):
    changed = document(**changes)
    changed["tasks"]["two"] = {"metric": metric}
    return changed


class TestReading:
    @pytest.mark.parametrize(
        ("given", "meant"),
        [
            ({"name": "loss", "direction": "minimize", "low": 0.0}, ExternalTask("two", "loss", False, 0.0)),
            ({"name": "rating"}, ExternalTask("two", "rating")),
            (FULL, ExternalTask("two", "pass_rate", True, 0.0, 1.0, 200)),
        ],
    )
    def test_a_task_beside_one_that_is_measured_here(self, given, meant):
        spec, faults = parse_manifest(with_metric({"external": given}), Path())
        assert faults == [] and spec.tasks_elsewhere == (meant,) and [task.name for task in spec.tasks_here] == ["one"]

    def test_a_share_of_right_answers_is_known_as_one(self):
        spec, _ = parse_manifest(with_metric({"external": FULL}), Path())
        assert spec.tasks[1].measure.proportion

    def test_no_architecture_is_needed_where_nothing_is_measured_here(self):
        changed = document(tasks={name: {"metric": {"external": {"name": "rating"}}} for name in ("one", "two")})
        del changed["architecture"]
        spec, faults = parse_manifest(changed, Path())
        assert faults == [] and spec.architecture is None


class TestFaults:
    def test_it_has_no_data(self):
        changed = with_metric({"external": {"name": "rating"}})
        changed["tasks"]["two"]["data"] = "two.safetensors"
        assert "unknown key" in faults_of(changed)["tasks.two.data"]

    @pytest.mark.parametrize(
        ("given", "where"),
        [
            ({}, "tasks.two.metric.external.name"),
            ({"name": "a b"}, "tasks.two.metric.external.name"),
            ({"name": "a", "low": 1.0, "high": 0.0}, "tasks.two.metric.external"),
            ({"name": "a", "low": float("nan")}, "tasks.two.metric.external.low"),
            ({"name": "a", "examples": 10}, "tasks.two.metric.external"),
            ({"name": "a", "examples": 0, "low": 0, "high": 1}, "tasks.two.metric.external.examples"),
            ({"name": "a", "direction": "up"}, "tasks.two.metric.external.direction"),
        ],
    )
    def test_each_is_told_with_its_key(self, given, where):
        assert set(faults_of(with_metric({"external": given}))) == {where}

    def test_a_near_miss_is_named(self):
        assert "did you mean 'direction'" in faults_of(with_metric({"external": {"name": "a", "directoin": "up"}}))[
            "tasks.two.metric.external.directoin"
        ]

    def test_an_architecture_is_needed_for_what_is_measured_here(self):
        changed = with_metric({"external": {"name": "rating"}})
        del changed["architecture"]
        assert faults_of(changed) == {"architecture": "required, but missing"}
