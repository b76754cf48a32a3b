"""The rows that matter, and what a merge keeps of the tuned models."""

import dataclasses

import pytest

from app.report.normalised import Own, own_scores
from app.report.summary import balanced_point, chosen_points, summary_rows


class TestOwn:
    def test_share_of_the_own_model(self):
        own = Own({"a": 0.8, "b": 4.0}, {"a": True, "b": False})
        assert own.share("a", 0.6) == pytest.approx(0.75)
        assert own.share("b", 5.0) == pytest.approx(0.8)
        assert own.mean_share({"a": 0.8, "b": 8.0}) == pytest.approx(0.75)
        assert own.worst_share({"a": 0.8, "b": 8.0}) == pytest.approx(0.5)

    @pytest.mark.parametrize(("own", "score"), [(0.0, 0.5), (-0.2, 0.5), (0.5, -0.1), (0.5, None)])
    def test_no_share_where_a_ratio_means_nothing(self, own, score):
        assert Own({"a": own}, {"a": True}).share("a", score) is None

    def test_no_mean_where_a_task_is_missing(self):
        own = Own({"a": 0.8, "b": 0.8}, {"a": True, "b": True})
        assert own.mean_share({"a": 0.8}) is None
        assert own.worst_share({"a": 0.8}) is None

    def test_the_own_model_is_the_one_of_that_name(self, make_run):
        run = make_run(("a", "b"), budget=8)
        assert own_scores(run.study, run.front, "report").scores["b"] == run.front.individuals[1].report["b"]

    def test_else_it_is_the_best_on_the_task(self, make_run):
        run = make_run(("a", "b"), ("accuracy", "perplexity"), budget=8)
        strangers = tuple(dataclasses.replace(one, name=f"model-{one.name}") for one in run.front.individuals)
        front = dataclasses.replace(run.front, individuals=strangers)
        own = own_scores(run.study, front, "search").scores
        assert own["a"] == max(one.search["a"] for one in strangers)
        assert own["b"] == min(one.search["b"] for one in strangers)


class TestRows:
    def test_the_balanced_point_has_the_best_worst_task(self, make_run):
        run = make_run(budget=12)
        own = own_scores(run.study, run.front, "search")
        worst = {
            number: min(own.share(task, found.score) for task, found in point.predicted.items())
            for number, point in enumerate(run.front.points)
            if point.search
        }
        assert balanced_point(run.study, run.front) == max(worst, key=worst.get)

    def test_every_task_has_its_best_point(self, make_run):
        run = make_run(("a", "b"), ("accuracy", "perplexity"), budget=12)
        chosen = {name: number for number, found in chosen_points(run.study, run.front).items() for name in found.split(", ")}
        verified = [number for number, point in enumerate(run.front.points) if point.search]
        assert set(chosen) == {"balanced", "best a", "best b"}
        assert chosen["best a"] == max(verified, key=lambda n: run.front.points[n].predicted["a"].score)
        assert chosen["best b"] == min(verified, key=lambda n: run.front.points[n].predicted["b"].score)

    def test_without_verified_points_all_are_open_to_choice(self, make_run):
        run = make_run(budget=12, verify=0)
        assert balanced_point(run.study, run.front) in range(len(run.front.points))

    def test_order_and_kinds(self, make_run):
        run = make_run(budget=12)
        rows = summary_rows(run.study, run.front)
        kinds = [row.kind for row in rows]
        assert kinds == sorted(kinds, key=["point", "baseline", "individual", "base"].index)
        assert rows[0].name.startswith("balanced")
        assert rows[-1].search == run.front.base.search
        baselines = [row for row in rows if row.kind == "baseline"]
        reported = [row for row in baselines if row.report]
        assert baselines[: len(reported)] == reported
        assert [row.search_mean for row in reported] == sorted((row.search_mean for row in reported), reverse=True)

    def test_an_empty_front_still_has_its_references(self, make_run):
        run = make_run(budget=8)
        rows = summary_rows(run.study, dataclasses.replace(run.front, points=()))
        assert {row.kind for row in rows} == {"baseline", "individual", "base"}
