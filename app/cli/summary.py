"""The table that ends a run."""

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
    table = Table(title=title, title_justify="left")
    table.add_column("merge", no_wrap=True)
    table.add_column("point", justify="right")
    for task in front.tasks:
        table.add_column(escape(task), justify="right")
    table.add_column("kept", justify="right")
    kind = None
    for row in summary_rows(study, front):
        if row.kind == "baseline" and not row.report:
            continue
        if row.kind != kind and kind is not None:
            table.add_section()
        kind = row.kind
        table.add_row(*_cells(row, front.tasks))
    out.print(table)
    for line in _sentences(front):
        out.print(line)


def _cells(row: SummaryRow, tasks: tuple[str, ...]) -> list[str]:
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
