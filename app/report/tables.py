"""The tables front.csv and trials.csv: fixed columns, UTF-8, numbers that read back to the same float64."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from app.domain.front import Front, FrontPoint
from app.domain.trial import Trial


def front_csv(front: Front) -> str:
    """One row a point: `point`, `c:` columns, then per task `predicted:`, `low:`, `high:`, `search:`, `report:`.

    The last two are empty where the point was not measured.
    """
    kinds = ("predicted", "low", "high", "search", "report")
    header = ["point", *(f"c:{column}" for column in front.columns), *(f"{kind}:{task}" for task in front.tasks for kind in kinds)]
    return _table(header, (_front_row(front, number, point) for number, point in enumerate(front.points)))


def trials_csv(trials: Sequence[Trial], columns: Sequence[str], tasks: Sequence[str]) -> str:
    """One row a trial of the search split: `trial`, `origin`, `c:` columns, `search:` columns, `status`, `seconds`."""
    header = ["trial", "origin", *(f"c:{column}" for column in columns), *(f"search:{task}" for task in tasks), "status", "seconds"]
    return _table(header, (_trial_row(tasks, trial) for trial in trials if trial.proposal.split == "search"))


def _front_row(front: Front, number: int, point: FrontPoint) -> list[str]:
    row = [str(number), *map(repr, point.coefficients)]
    for task in front.tasks:
        predicted = point.predicted[task]
        row += [repr(predicted.score), repr(predicted.low), repr(predicted.high), _cell(point.search, task), _cell(point.report, task)]
    return row


def _trial_row(tasks: Sequence[str], trial: Trial) -> list[str]:
    proposal = trial.proposal
    scores = [_cell(trial.scores, task) for task in tasks]
    seconds = "" if trial.seconds is None else repr(trial.seconds)
    return [str(trial.number), proposal.origin, *map(repr, proposal.coefficients), *scores, trial.status.value, seconds]


def _cell(scores: Mapping[str, float], task: str) -> str:
    return repr(scores[task]) if task in scores else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
