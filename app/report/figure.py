"""The figure front.png: two tasks as a scatter, more as a matrix of pairs above parallel coordinates, too many as the latter alone."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.domain.front import Front
from app.domain.study import Study
from app.domain.task import Task
from app.domain.trial import Trial
from app.report.marks import BLUE, Group, count_outside, measured_groups
from app.report.panels import axis_label, draw_pair, draw_parallel, draw_single, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

DOTS_PER_INCH = 120
# beyond it the panels of pairs are too small to read and too many to draw
MOST_TASKS_IN_PAIRS = 8
_KEY_SIZES = {"*": 11.0, ".": 9.0, "o": 4.5}


def draw_front(study: Study, trials: Sequence[Trial], front: Front) -> bytes:
    """The front as a PNG; the same study gives the same bytes with the same matplotlib. No state is shared: threads may draw at once."""
    from matplotlib.figure import Figure

    tasks = [task for task in study.spec.tasks if task.name in front.tasks]
    groups = measured_groups(study, trials, front)
    width, height = figure_inches(len(tasks))
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")
    title = f"{printable(study.spec.name, 60)}: {len(front.points)} points over {len(tasks)} tasks"
    figure.suptitle(f"{title}\n{_note(front, groups)}", fontsize=11)
    if len(tasks) <= 2:
        _draw_few(figure, front, groups, tasks)
    elif len(tasks) <= MOST_TASKS_IN_PAIRS:
        _draw_many(figure, front, groups, tasks)
    else:
        _draw_lines(figure.add_subplot(), front, groups, tasks)
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()


def _note(front: Front, groups: Sequence[Group]) -> str:
    outside = count_outside(front, groups)
    rest = f" {outside} measured merges lie outside." if outside else ""
    return f"Scores on the search split. Bars: 95 % interval of the prediction.{rest}"


def figure_inches(tasks: int) -> tuple[float, float]:
    """Width and height of the figure for so many tasks."""
    if tasks <= 2:
        return (9.5, 6.5)
    if tasks > MOST_TASKS_IN_PAIRS:
        return (1.7 * tasks, 6.5)
    across = (tasks - 1) * _cell(tasks)
    return (across + 0.8, 0.82 * across + 4.8)


def _cell(tasks: int) -> float:
    return max(1.75, 9.6 / (tasks - 1))


def _draw_few(figure: "Figure", front: Front, groups: Sequence[Group], tasks: Sequence[Task]) -> None:
    axes = figure.add_subplot()
    axes.set_xlabel(axis_label(tasks[0], "→"))
    if len(tasks) == 1:
        draw_single(axes, front, groups, tasks[0])
        return
    draw_pair(axes, front, groups, tasks[0], tasks[1], large=True)
    axes.set_ylabel(axis_label(tasks[1], "↑"))
    figure.legend(handles=_keys(groups), loc="outside right upper", frameon=False, fontsize=9)


def _draw_many(figure: "Figure", front: Front, groups: Sequence[Group], tasks: Sequence[Task]) -> None:
    count = len(tasks) - 1
    _, height = figure_inches(len(tasks))
    halves = figure.subfigures(2, 1, squeeze=False, height_ratios=[height - 4.6, 3.6], hspace=0.03)
    upper, lower = halves[0, 0], halves[1, 0]
    cells = upper.subplots(count, count, sharex="col", sharey="row", squeeze=False)
    large = count <= 3
    for row in range(count):
        for column in range(count):
            if column > row:
                cells[row, column].axis("off")
                continue
            _draw_cell(cells[row, column], front, groups, tasks[column], tasks[row + 1], large)
            cells[row, column].label_outer()
    upper.legend(handles=_keys(groups), loc="upper right", bbox_to_anchor=(0.98, 0.97), frameon=False, fontsize=10)
    _draw_lines(lower.add_subplot(), front, groups, tasks)


def _draw_lines(axes: "Axes", front: Front, groups: Sequence[Group], tasks: Sequence[Task]) -> None:
    colouring = f"coloured by its score on {printable(tasks[0].name)}"
    axes.set_title(f"Every point of the front (up is better on every axis), {colouring}", fontsize=10)
    draw_parallel(axes, front, groups, tasks)


def _draw_cell(axes: "Axes", front: Front, groups: Sequence[Group], first: Task, second: Task, large: bool) -> None:
    draw_pair(axes, front, groups, first, second, large)
    axes.tick_params(labelsize=8 if large else 6.5)
    size = 9 if large else 7.5
    axes.set_xlabel(axis_label(first, "→", 16), fontsize=size)
    axes.set_ylabel(axis_label(second, "↑", 16), fontsize=size)


def _keys(groups: Sequence[Group]) -> "list[Line2D]":
    """Keys of the legend, in the order of what matters."""
    from matplotlib.lines import Line2D

    front = Line2D([], [], linestyle="", marker="o", markersize=5, color=BLUE, label="front, predicted")
    keys = [front]
    for group in reversed(groups):
        key = Line2D([], [], linestyle="", marker=group.marker, label=group.label, markeredgecolor=group.colour)
        key.set_markerfacecolor("none" if group.hollow else group.colour)
        key.set_markersize(_KEY_SIZES.get(group.marker, 6.5))
        keys.append(key)
    return keys
