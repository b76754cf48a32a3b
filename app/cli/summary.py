"""The table that ends a run."""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from rich.markup import escape
from rich.table import Table

from app.cli.console import out
from app.domain.front import Front
from app.domain.study import Study
from app.report.summary import SummaryRow, summary_rows


def print_summary(study: Study, front: Front) -> None:
    """The merges that matter: report-split scores where measured, else search-split scores in grey.

    Of the baselines, those that went on to the report split: the others only chose them, and stand in trials.csv.
    """
    title = f"{escape(study.spec.name)}: scores on the report split (grey: search split); kept: mean share of the tasks' own models"
    rows = [row for row in summary_rows(study, front) if row.kind != "baseline" or row.report]
    for number, tasks in enumerate(stack_tasks(front.tasks, rows, out.width)):
        out.print(_table(title if number == 0 else None, rows, tasks))
    for line in _sentences(front):
        out.print(line)


def stack_tasks(tasks: Sequence[str], rows: Sequence[SummaryRow], width: int) -> list[list[str]]:
    """The tasks in as many tables below each other as it takes for none to be wider than the terminal."""
    around = max(len(row.name) for row in rows) + len("point") + len("kept") + 11  # with what is drawn between
    tables: list[list[str]] = [[]]
    room = width - around
    for task in tasks:
        needed = max(len(task), 5) + 3
        if tables[-1] and needed > room:
            tables.append([])
            room = width - around
        tables[-1].append(task)
        room -= needed
    return tables


def _table(title: str | None, rows: Sequence[SummaryRow], tasks: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("merge", no_wrap=True)
    table.add_column("point", justify="right")
    for task in tasks:
        table.add_column(escape(task), justify="right", no_wrap=True)
    table.add_column("kept", justify="right")
    for _, kind in groupby(rows, key=attrgetter("kind")):
        table.add_section()
        for row in kind:
            table.add_row(*_cells(row, tasks))
    return table


def _cells(row: SummaryRow, tasks: Sequence[str]) -> list[str]:
    number = "" if row.point is None else str(row.point)
    mean = row.report_mean if row.report else row.search_mean
    return [escape(row.name), number, *(_score(row, task) for task in tasks), "" if mean is None else f"{mean:.3f}"]


def _score(row: SummaryRow, task: str) -> str:
    if task in row.report:
        return f"{row.report[task]:.3f}"
    return f"[dim]{row.search[task]:.3f}[/]" if task in row.search else ""


def _sentences(front: Front) -> list[str]:
    fits = [f"{fit.task} {fit.surrogate} (leave-one-out error {fit.loo_rmse:.4f})" for fit in front.fits]
    spent = ", ".join(f"{name} {count}" for name, count in front.evaluations.items())
    return [f"{len(front.points)} points on the front; surrogates: {escape('; '.join(fits))}", f"trials spent: {escape(spent)}"]
