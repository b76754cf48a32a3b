"""Tables of fronts.py as one picture: how much of the best hypervolume each method reaches, and what choosing from it loses.

    python benchmarks/fronts_picture.py RECORDS.json [RECORDS.json ...] --out fronts.png

RECORDS: what fronts.py writes with --json, a study each. Every seed beside the best on its examples, then medians over seeds with
quartiles; filled where a method had the most evaluations of its study, hollow where it had fewer; arrows point to what is better. A
study needs no method that another has.
"""

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

NAMES: Mapping[str, str] = {
    "bayesian-output": "ours: bayesian, output",
    "map-auto": "ours: map, auto",
    "nested": "ours: nested",
    "map": "MAP as published",
    "sobol": "Sobol points",
    "nsga2": "pymoo NSGA-II",
    "qlognehvi": "BoTorch qLogNEHVI",
    "optuna-tpe": "Optuna TPE",
    "optuna-gp": "Optuna GP",
    "task-arithmetic": "task arithmetic, swept",
    "ties": "TIES, swept",
    "dare": "DARE, swept",
    "adamerging": "AdaMerging, task-wise",
    "adamerging-blocks": "AdaMerging, by blocks",
}
OURS, THEIRS = "#0072B2", "#555555"
MEASURES = {"hypervolume": "hypervolume, share of the best →", "preference_regret": "← preference regret, above the least"}


@dataclass(frozen=True)
class Spot:
    """One method at one budget: quartiles over seeds."""

    method: str
    budget: int
    low: float
    middle: float
    high: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    draw([json.loads(path.read_text(encoding="utf-8")) for path in given.records]).savefig(given.out, metadata={"Software": None})


def draw(studies: Sequence[Sequence[Mapping[str, Any]]]) -> Figure:
    known = {str(one["method"]) for records in studies for one in records}
    methods = [method for method in NAMES if method in known]
    size = 2.4 + 2.3 * len(studies), 1.2 + 0.46 * len(methods)
    figure = Figure(figsize=size, dpi=110, layout="constrained", facecolor="white")
    cells = figure.subplots(len(MEASURES), len(studies), sharey=True, squeeze=False)
    for column, records in enumerate(studies):
        for row, measure in enumerate(MEASURES):
            draw_cell(cells[row, column], measure, spots_of(records, measure), methods)
        budgets = ", ".join(map(str, sorted({int(one["budget"]) for one in records})))
        cells[0, column].set_title(f"{records[0]['study']}\n{budgets} evaluations", fontsize=9)
    return figure


def spots_of(records: Sequence[Mapping[str, Any]], measure: str) -> list[Spot]:
    keys = sorted({(str(one["method"]), int(one["budget"])) for one in records})
    seeds = {one["seed"]: [float(other[measure]) for other in records if other["seed"] == one["seed"]] for one in records}

    def beside(one: Mapping[str, Any]) -> float:
        """By the best of the same examples: easy ones and hard ones become comparable."""
        value, rivals = float(one[measure]), seeds[one["seed"]]
        return value / max(rivals) if measure == "hypervolume" else value - min(rivals)

    return [Spot(*key, *quartiles([beside(one) for one in records if (one["method"], one["budget"]) == key])) for key in keys]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def draw_cell(axes: Axes, measure: str, spots: Sequence[Spot], methods: Sequence[str]) -> None:
    most = max(spot.budget for spot in spots)
    for spot in spots:
        if spot.method not in methods:
            continue
        place, colour = methods.index(spot.method), OURS if NAMES[spot.method].startswith("ours") else THEIRS
        axes.plot([spot.low, spot.high], [place, place], color=colour, linewidth=1.2, alpha=0.6)
        axes.plot(spot.middle, place, "o", markersize=5.5, color=colour, markerfacecolor=colour if spot.budget == most else "white")
    axes.set_yticks(range(len(methods)), [NAMES[method] for method in methods], fontsize=8)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.set_xlabel(MEASURES[measure], fontsize=8)
    axes.tick_params(axis="x", labelsize=7.5)
    axes.grid(alpha=0.25, linewidth=0.5)


if __name__ == "__main__":
    main()
