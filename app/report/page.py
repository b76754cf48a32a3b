"""The page report.html: one file that opens anywhere, offline, and asks nothing of any server."""

import base64
import hashlib
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files

from app.domain.front import Front
from app.domain.study import Study
from app.domain.trial import Trial, TrialStatus
from app.report.normalised import own_scores
from app.report.summary import SummaryRow, balanced_point, summary_rows
from app.report.view import page_view
from app.report.words import verdicts

_SCRIPTS = ("state.js", "charts.js", "parallel.js", "page.js")


def render_page(study: Study, trials: Sequence[Trial], front: Front, source: str) -> str:
    """The report as one HTML text. `source`: the run's directory or the study's id, as `mergefront merge` takes it.

    Everything that comes from the study is escaped; the page's own policy allows its four scripts by digest and no request at all.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=_number, percent=_percent)
    rows = summary_rows(study, front)
    scripts = [_plotly(), "\n".join(_file(name) for name in _SCRIPTS)]
    return environment.from_string(_file("page.html")).render(
        study=study,
        front=front,
        lead=_lead(study, front),
        tasks=[next(task for task in study.spec.tasks if task.name == name) for name in front.tasks],
        rows=[row for row in rows if _is_compared(row)],
        rest=[row for row in rows if not _is_compared(row)],
        own=own_scores(study, front, "report"),
        verdicts=verdicts(study, front),
        spent=_spent(trials),
        failures=[trial for trial in trials if trial.failure is not None],
        source=shlex.quote(source),
        inputs=_inputs(study),
        policy=_policy(scripts),
        style=Markup(_file("page.css")),
        scripts=[Markup(script) for script in scripts],
        view=Markup(_script_data(page_view(study, trials, front, source))),
    )


def _file(name: str) -> str:
    return files("app.report").joinpath(name).read_text("utf-8")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _policy(scripts: Sequence[str]) -> str:
    """A content security policy: these scripts and no other, inline styles, pictures made by the page itself, no connection."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"


def _script_data(value: object) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(_without_nan(value), separators=(",", ":"))
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _without_nan(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return value


def _lead(study: Study, front: Front) -> str:
    """The result in one sentence, from scores that no choice ever saw where there are any."""
    balanced = balanced_point(study, front)
    if balanced is None:
        return ""
    point, own = front.points[balanced], own_scores(study, front, "report")
    mean, worst = own.mean_share(point.report), own.worst_share(point.report)
    if mean is None or worst is None:
        return f"Point {balanced} is the balanced one; it was not measured on the report split."
    weakest = min(front.tasks, key=lambda task: own.share(task, point.report.get(task)) or 0.0)
    kept = f"keeps {_percent(mean)} of the tuned models' own scores on average, {_percent(worst)} on {weakest}, its weakest task"
    return f"The balanced merge (point {balanced}) {kept}, measured on the report split, which no choice ever saw."


def _spent(trials: Sequence[Trial]) -> list[tuple[str, str, int, int, float]]:
    """Evaluations by origin and split: how many, how many of them failed, seconds."""
    spent: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        spent.setdefault((trial.proposal.origin, trial.proposal.split), []).append(trial)
    return [
        (
            origin,
            split,
            len(found),
            sum(trial.status is TrialStatus.FAILED for trial in found),
            sum(trial.seconds or 0.0 for trial in found),
        )
        for (origin, split), found in spent.items()
    ]


def _inputs(study: Study) -> Mapping[str, str]:
    spec = study.spec
    transform = spec.transform
    return {
        "base": spec.models.base,
        **{f"tuned {name}": path for name, path in spec.models.tuned.items()},
        "box": f"[{spec.space.low:g}, {spec.space.high:g}], groups: {spec.space.groups}",
        "transform": f"{transform.name}, density {transform.density:g}, drop {transform.drop:g}, seed {transform.seed}",
        "method": f"{spec.method.name}, surrogate {spec.method.surrogate}, link {spec.method.link}, ridge {spec.method.ridge:g}",
        "budget": f"{spec.method.budget} trials, seed {spec.method.seed}",
        "front": f"{spec.front.points} points asked for, {spec.front.verify} verified, solver {spec.front.solver}",
        **{f"split of {task.name}": _split(task.split.search, task.split.report, task.split.seed) for task in spec.tasks_here},
    }


def _split(search: float, report: float, seed: int) -> str:
    return f"search {search:g}, report {report:g}, seed {seed}"


def _is_compared(row: SummaryRow) -> bool:
    # a sweep shows its best on the page; the rest of it folds away
    return row.kind != "baseline" or bool(row.report)


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}".replace("%", "\N{NO-BREAK SPACE}%")
