"""front.png: the right size for any number of tasks, the same bytes each time, whatever the names."""

import io
from dataclasses import replace

import matplotlib.image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.report.figure import DOTS_PER_INCH, MOST_TASKS_IN_PAIRS, draw_front, figure_inches
from app.report.marks import Group, count_outside, shown_range
from app.report.panels import printable


def pixels(run):
    return matplotlib.image.imread(io.BytesIO(draw_front(run.study, run.trials, run.front)), format="png")


class TestFigure:
    @pytest.mark.parametrize("tasks", [1, 2, 3, 5, MOST_TASKS_IN_PAIRS + 1])
    def test_size(self, make_run, tasks):
        image = pixels(make_run([f"t{n}" for n in range(tasks)], budget=15, points=12))
        width, height = figure_inches(tasks)
        assert abs(image.shape[0] - height * DOTS_PER_INCH) <= 1
        assert abs(image.shape[1] - width * DOTS_PER_INCH) <= 1
        assert image.std() > 0.02

    def test_same_study_same_bytes(self, make_run):
        run = make_run(("a", "b"), ("accuracy", "perplexity"), budget=12)
        assert draw_front(run.study, run.trials, run.front) == draw_front(run.study, run.trials, run.front)

    def test_another_front_another_picture(self, make_run):
        first, second = (make_run(("a", "b"), budget=12, seed=seed) for seed in (0, 1))
        assert draw_front(first.study, first.trials, first.front) != draw_front(second.study, second.trials, second.front)

    def test_nothing_verified_and_one_point(self, make_run):
        assert pixels(make_run(("a", "b", "c"), budget=8, points=1, verify=0)).std() > 0.02

    @settings(max_examples=5, deadline=None)
    @given(names=st.lists(st.text(min_size=1, max_size=30), min_size=2, max_size=2, unique=True))
    def test_names_are_drawn_whatever_they_hold(self, make_run, names):
        assert pixels(make_run(names, study_name=names[0], budget=6, points=4, verify=2)).ndim == 3


class TestShownRange:
    @pytest.fixture
    def front(self, make_run):
        return make_run(("a", "b"), budget=8).front

    def test_what_is_weighed_is_inside_and_collapsed_baselines_are_not(self, front):
        tuned = Group("tuned alone", "*", "black", 1, [{"a": 1.0, "b": 0.1}])
        collapsed = Group("dare", "v", "black", 1, [{"a": -2.0, "b": 0.5}])
        assert shown_range(front, [tuned, collapsed], "a")[1] == 1.0
        assert shown_range(front, [tuned, collapsed], "a") == shown_range(front, [tuned], "a")
        assert count_outside(front, [tuned, collapsed]) == 1

    def test_equal_scores_have_a_range(self, front):
        flat = replace(front, points=front.points[:1])
        low, high = shown_range(flat, [], "a")
        assert low < flat.points[0].predicted["a"].score < high


class TestPrintable:
    @pytest.mark.parametrize(
        ("name", "shown"),
        [("mnist", "mnist"), ("a$b$", r"a\$b\$"), ("a\nb", "a�b"), ("日本", "��"), ("x" * 40, "x" * 27 + "…")],
    )
    def test_what_the_font_can_show(self, name, shown):
        assert printable(name) == shown
