"""Panels of the figure: one pair of tasks, one task alone, all tasks as parallel coordinates."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from app.domain.front import Front
from app.domain.task import Task
from app.report.marks import BLUE, GREY, VERMILION, Group, predicted_scores, shown_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What a picture shows beyond its range, on each side: room for markers and names.
MARGIN = 0.06


def draw_pair(axes: "Axes", front: Front, groups: Sequence[Group], first: Task, second: Task, large: bool) -> None:
    """Scores on `first` (across) against `second` (up): samples, the predicted front with its intervals, and all that was measured."""
    across, up = predicted_scores(front, first.name), predicted_scores(front, second.name)
    for number, group in enumerate(groups):
        _scatter(axes, group, group.pairs(first.name, second.name), number, large)
    axes.errorbar(across[0], up[0], xerr=_arms(across), yerr=_arms(up), fmt="none", ecolor=BLUE, elinewidth=0.6, alpha=0.22, zorder=10)
    axes.scatter(across[0], up[0], s=16 if large else 6, color=BLUE, linewidths=0, zorder=11)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.set_xlim(*_widened(shown_range(front, groups, first.name)))
    axes.set_ylim(*_widened(shown_range(front, groups, second.name)))
    if large:
        _name_merges(axes, groups, first.name, second.name)


def draw_single(axes: "Axes", front: Front, groups: Sequence[Group], task: Task) -> None:
    """Scores on the only task, one row a group of merges."""
    rows = [*((group.label, [one[task.name] for one in group.scores if task.name in one]) for group in groups)]
    for height, ((_, scores), group) in enumerate(zip(rows, groups, strict=True)):
        _scatter(axes, group, [(score, float(height)) for score in scores], height, True)
    scores, low, high = predicted_scores(front, task.name)
    axes.errorbar(scores, [len(rows)] * len(scores), xerr=_arms((scores, low, high)), fmt="o", color=BLUE, elinewidth=0.8)
    axes.set_yticks(range(len(rows) + 1), [*(label for label, _ in rows), "predicted"])
    axes.grid(axis="x", alpha=0.25, linewidth=0.5)


def draw_parallel(axes: "Axes", front: Front, groups: Sequence[Group], tasks: Sequence[Task]) -> None:
    """One upright axis a task, better upwards; a line a point of the front, coloured by its predicted score on the first task."""
    import matplotlib

    ranges = {task.name: _worst_and_best(task, front, groups) for task in tasks}
    places = range(len(tasks))
    lines = [[_height(ranges[task.name], point.predicted[task.name].score) for task in tasks] for point in front.points]
    colours = matplotlib.colormaps["viridis"]
    for line in lines:
        axes.plot(places, line, color=colours(0.92 * line[0]), linewidth=0.9, alpha=0.55, zorder=2)
    for group in groups:
        if group.label in _LINES:
            _reference_line(axes, group, tasks, ranges)
    for place, task in enumerate(tasks):
        _upright(axes, place, ranges[task.name])
    axes.set_xticks(places, [f"{printable(task.name, 18)}\n{task.metric}" for task in tasks], fontsize=9)
    axes.set_xlim(-0.3, len(tasks) - 0.7)
    axes.set_ylim(-0.08, 1.08)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


_LINES: Mapping[str, tuple[str, float]] = {"average": ("--", 1.6), "base": (":", 1.6), "balanced, verified": ("-", 2.4)}


def axis_label(task: Task, arrow: str, width: int = 28) -> str:
    """The task's name, its metric, and which way is better: `arrow` where larger is, else the opposite arrow."""
    better = arrow if task.measure.maximize else {"→": "←", "↑": "↓"}[arrow]
    return f"{printable(task.name, width)}\n{task.metric} (better {better})"


def printable(name: str, width: int = 28) -> str:
    """`name` as the figure can show it: no line breaks, no glyph that its font lacks, no mathematics, at most `width` characters."""
    shown = "".join(letter if letter.isprintable() and _has_glyph(letter) else "\N{REPLACEMENT CHARACTER}" for letter in name)
    shown = shown if len(shown) <= width else shown[: width - 1] + "…"
    return shown.replace("$", r"\$")


@cache
def _has_glyph(letter: str) -> bool:
    from matplotlib.font_manager import findfont, get_font

    return bool(get_font(findfont("DejaVu Sans")).get_char_index(ord(letter)))


def _scatter(axes: "Axes", group: Group, pairs: Sequence[tuple[float, float]], order: int, large: bool) -> None:
    size = group.size if large else group.size * 0.4
    axes.scatter(
        [x for x, _ in pairs],
        [y for _, y in pairs],
        s=size,
        marker=group.marker,
        facecolors="none" if group.hollow else group.colour,
        edgecolors=group.colour,
        linewidths=1.3 if group.hollow else 0,
        alpha=0.55 if group.colour == GREY else 1.0,
        zorder=order + (12 if group.colour == VERMILION else 2),
    )


def _name_merges(axes: "Axes", groups: Sequence[Group], first: str, second: str) -> None:
    for group in groups:
        for name, scores in zip(group.names, group.scores, strict=False):
            # elsewhere than on their own tasks the tuned models lie on one heap: their names would too
            if {first, second} <= scores.keys() and (name in (first, second) or len(group.names) == 2):
                spot = (scores[first], scores[second])
                axes.annotate(printable(name), spot, xytext=(6, 6), textcoords="offset points", fontsize=8.5, zorder=30)


def _arms(scores: tuple[list[float], list[float], list[float]]) -> list[list[float]]:
    # a smoothed score may lie a hair outside the interval of the measured one; lengths cannot be negative
    middle, low, high = scores
    return [
        [max(0.0, m - end) for m, end in zip(middle, low, strict=True)],
        [max(0.0, end - m) for m, end in zip(middle, high, strict=True)],
    ]


def _worst_and_best(task: Task, front: Front, groups: Sequence[Group]) -> tuple[float, float]:
    """What the parallel axis of a task goes between."""
    low, high = shown_range(front, [group for group in groups if group.label in _LINES], task.name)
    return (low, high) if task.measure.maximize else (high, low)


def _widened(ends: tuple[float, float]) -> tuple[float, float]:
    margin = MARGIN * (ends[1] - ends[0])
    return ends[0] - margin, ends[1] + margin


def _height(ends: tuple[float, float], score: float) -> float:
    worst, best = ends
    return (score - worst) / (best - worst)


def _reference_line(axes: "Axes", group: Group, tasks: Sequence[Task], ranges: Mapping[str, tuple[float, float]]) -> None:
    style, width = _LINES[group.label]
    for scores in group.scores:
        known = [(place, _height(ranges[task.name], scores[task.name])) for place, task in enumerate(tasks) if task.name in scores]
        axes.plot(
            [place for place, _ in known], [height for _, height in known],
            linestyle=style, linewidth=width, color=group.colour, marker=group.marker, markersize=5, zorder=5,
        )  # fmt: skip


def _upright(axes: "Axes", place: int, ends: tuple[float, float]) -> None:
    axes.axvline(place, color=GREY, linewidth=0.8, zorder=1)
    for height, score, side in ((-0.02, ends[0], "top"), (1.02, ends[1], "bottom")):
        axes.text(place, height, f"{score:.3g}", ha="center", va=side, fontsize=8)
