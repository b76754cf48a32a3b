"""Fronts on unseen examples against evaluations: ours, and other ways to them.

    python benchmarks/fronts.py STUDY.yaml [--methods a,b] [--budgets 10,40] [--seeds 5] [--points 10] [--beside METHOD@BUDGET]
        [--cache DIR] [--kept] [--json OUT]

Every method gets the same number of evaluations on the search split and gives a front of at most --points points, which are then
scored on the report split. Each seed draws the examples of both splits anew, so that the spread tells of them too. Hypervolume from
the worst of base and tuned models less a tenth of their range; IGD, tasks by their range, to the best of all fronts of a seed;
preference regret over 1,000 weights (choosing by what the search believes). Evaluations and fronts are kept under --cache, so that a
run that was cut goes on where it was; where a method changes, remove its files from `fronts/` there. --kept shows what is there and
searches for nothing. Seconds are the search's own, without evaluations. Medians over seeds, with half the range between quartiles;
--beside adds what every method has more than one of them on the same examples: means, with their standard errors.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from cached_evaluations import CachedEvaluator, open_cache
from front_methods import METHODS, Found
from torch import Tensor

from app.domain.errors import MergefrontError
from app.domain.study import StudySpec
from app.domain.trial import Proposal
from app.manifest.read import load_document, parse_manifest
from app.store.codec import decode, encode
from surrogate.errors import SurrogateError
from surrogate.figures import hypervolume, inverted_generational_distance, preference_regret, preference_weights, reference_point
from surrogate.pareto import non_dominated
from workers.engine.arrays import directions, stack_utilities
from workers.engine.normalised import normalise, own_scores
from workers.engine.references import references

FIGURES = ("hypervolume", "igd", "preference_regret")
PREFERENCES, PREFERENCE_SEED = 1000, 0


@dataclass(frozen=True)
class Run:
    """One front: how it came about, and its utilities on the report split, n x T."""

    method: str
    budget: int
    seed: int
    found: Found
    report: Tensor
    seconds: float


@dataclass(frozen=True)
class Judge:
    """What fronts of a study are measured by. `reference`: T utilities; `own`: each task's own model, by split."""

    spec: StudySpec
    reference: Tensor
    own: dict[str, dict[str, float]]

    def regret(self, run: Run) -> float:
        believed, report = (self._normalised(rows, split) for rows, split in ((run.found.believed, "search"), (run.report, "report")))
        return preference_regret(believed, report, preference_weights(len(self.spec.tasks), PREFERENCES, PREFERENCE_SEED))

    def _normalised(self, utilities: Tensor, split: str) -> Tensor:
        names = [task.name for task in self.spec.tasks]
        rows = [dict(zip(names, row, strict=True)) for row in (utilities * directions(self.spec)).tolist()]
        return normalise(self.spec, self.own[split], rows)


def judge_of(spec: StudySpec, evaluator: CachedEvaluator) -> Judge:
    unmerged = [one for one in references(spec, evaluator.gram.shape[0]) if not one.is_baseline]
    own = {}
    for split in ("search", "report"):
        alone = {one.name: evaluator.evaluate(one.proposal(split)).scores for one in unmerged if one.family == "individual"}
        own[split] = dict(own_scores(spec, alone) or {})
    rows = [evaluator.evaluate(one.proposal("report")).scores for one in unmerged]
    return Judge(spec, reference_point(stack_utilities(spec, rows)), own)


def resplit(spec: StudySpec, seed: int) -> StudySpec:
    """The study on other examples of its data; on its own for 0."""
    return replace(spec, tasks=tuple(replace(task, split=replace(task.split, seed=task.split.seed + seed)) for task in spec.tasks_here))


def run_study(spec: StudySpec, seed: int, wishes: Sequence[tuple[str, int]], given: argparse.Namespace) -> list[dict[str, object]]:
    """Every wished method and budget, scored on the same examples; --kept: those that an earlier run kept."""
    evaluator = open_cache(spec, given.cache)
    if given.kept:
        wishes = [one for one in wishes if kept_path(evaluator, *one, given.points, seed).is_file()]
    tried = [run_method(spec, evaluator, method, budget, given.points, seed) for method, budget in wishes]
    runs = [run for run in tried if run is not None]
    return records_of(spec, judge_of(spec, evaluator), runs) if runs else []


def run_method(spec: StudySpec, evaluator: CachedEvaluator, method: str, budget: int, points: int, seed: int) -> Run | None:
    """None, and a word why, where the method cannot do with so few evaluations."""
    try:
        found, seconds = kept_front(spec, evaluator, method, budget, points, seed)
    except (SurrogateError, MergefrontError, RuntimeError) as error:
        print(f"{method} at {budget}, seed {seed}: {error}", flush=True)
        return None
    grouped = evaluator if found.groups == spec.space.groups else evaluator.grouped(found.groups)
    report = [grouped.evaluate(replace(proposal, split="report")).scores for proposal in found.proposals]
    print(f"{method} at {budget}, seed {seed}: searched for {seconds:.1f} s", file=sys.stderr, flush=True)
    return Run(method, budget, seed, found, stack_utilities(spec, report), seconds)


def kept_front(spec: StudySpec, evaluator: CachedEvaluator, method: str, budget: int, points: int, seed: int) -> tuple[Found, float]:
    """The front, from where an earlier run kept it, and the seconds that its search took beside evaluations."""
    path = kept_path(evaluator, method, budget, points, seed)
    if path.is_file():
        return read_front(path)
    started, evaluated = time.perf_counter(), evaluator.seconds
    found = METHODS[method](spec, evaluator, budget, points, seed)
    seconds = time.perf_counter() - started - (evaluator.seconds - evaluated)
    path.parent.mkdir(exist_ok=True)
    rows = {"proposals": list(map(encode, found.proposals)), "believed": found.believed.tolist(), "groups": found.groups}
    path.write_text(json.dumps({**rows, "evaluations": found.evaluations, "seconds": seconds}), encoding="utf-8")
    return found, seconds


def kept_path(evaluator: CachedEvaluator, method: str, budget: int, points: int, seed: int) -> Path:
    return evaluator.directory / "fronts" / f"{method}-{budget}-{points}-{seed}.json"


def read_front(path: Path) -> tuple[Found, float]:
    kept = json.loads(path.read_text(encoding="utf-8"))
    proposals = tuple(decode(Proposal, one) for one in kept["proposals"])
    groups = kept["groups"] if isinstance(kept["groups"], str) else tuple(kept["groups"])
    return Found(proposals, torch.tensor(kept["believed"], dtype=torch.float64), kept["evaluations"], groups), kept["seconds"]


def records_of(spec: StudySpec, judge: Judge, runs: Sequence[Run]) -> list[dict[str, object]]:
    every = torch.cat([run.report for run in runs])
    best = every[non_dominated(every)]
    extent = (best.amax(0) - best.amin(0)).clamp_min(1e-9)
    return [
        {
            "study": spec.name,
            "method": run.method,
            "budget": run.budget,
            "seed": run.seed,
            "hypervolume": hypervolume(run.report, judge.reference),
            "igd": inverted_generational_distance(run.report / extent, best / extent),
            "preference_regret": judge.regret(run),
            "evaluations": run.found.evaluations,
            "points": len(run.report),
            "seconds": round(run.seconds, 3),
        }
        for run in runs
    ]


def table(records: Sequence[dict[str, object]]) -> str:
    keys = sorted({(str(one["method"]), int(str(one["budget"]))) for one in records}, key=lambda key: (key[1], list(METHODS).index(key[0])))
    heading = "".join(f"{name:>7}" for name in ("seeds", "evals", "points")) + "".join(f"{name:>24}" for name in FIGURES)
    lines = [f"{'budget':>6}  {'method':<20}{heading}{'seconds':>9}"]
    for method, budget in keys:
        rows = [one for one in records if (one["method"], one["budget"]) == (method, budget)]
        middle = {name: statistics.median(float(str(one[name])) for one in rows) for name in ("evaluations", "points", "seconds")}
        cells = "".join(f"{_spread([float(str(one[name])) for one in rows]):>24}" for name in FIGURES)
        start = f"{budget:>6}  {method:<20}{len(rows):>7}{middle['evaluations']:>7.1f}{middle['points']:>7.0f}"
        lines.append(f"{start}{cells}{middle['seconds']:>9.1f}")
    return "\n".join(lines)


def comparison(records: Sequence[dict[str, object]], method: str, budget: int) -> str:
    """What every method has more than `method` at `budget`, seed by seed."""
    figures = ("hypervolume", "preference_regret")
    known = {(one["method"], one["budget"], one["seed"]): one for one in records}
    lines = [f"{'budget':>6}  {'beside ' + method + f'@{budget}':<34}" + "".join(f"{name:>24}" for name in figures)]
    for key in dict.fromkeys((str(one["method"]), int(str(one["budget"]))) for one in records):
        rows = [one for one in records if (one["method"], one["budget"]) == key]
        pairs = [(one, known[method, budget, one["seed"]]) for one in rows if (method, budget, one["seed"]) in known]
        if not pairs:
            continue
        cells = "".join(f"{_mean([float(str(one[name])) - float(str(other[name])) for one, other in pairs]):>24}" for name in figures)
        lines.append(f"{key[1]:>6}  {key[0]:<34}{cells}")
    return "\n".join(lines)


def _method_at_budget(text: str) -> tuple[str, int]:
    method, _, budget = text.partition("@")
    return method, int(budget)


def _mean(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:+.4g}"
    return f"{statistics.fmean(values):+.3g} ± {statistics.stdev(values) / len(values) ** 0.5:.2g}"


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:#.4g}"
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:#.4g} ± {(high - low) / 2:#.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--methods", default=",".join(METHODS), help="of " + ", ".join(METHODS))
    parser.add_argument("--budgets", default="10,40")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--cache", type=Path, default=Path("var/bench"))
    parser.add_argument("--beside", type=_method_at_budget, metavar="METHOD@BUDGET")
    parser.add_argument("--kept", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    spec, faults = parse_manifest(load_document(given.study), given.study.parent)
    if spec is None or faults:
        parser.error("; ".join(map(str, faults)))
    methods = given.methods.split(",")
    unknown = [method for method in methods if method not in METHODS]
    if unknown:
        parser.error(f"no method {', '.join(unknown)}: there are {', '.join(METHODS)} (Optuna's only where it is installed)")
    if "optuna-tpe" not in METHODS:
        print("Optuna is not installed: its samplers are left out")
    wishes = [(method, int(budget)) for budget in given.budgets.split(",") for method in methods]
    records = [record for seed in range(given.seeds) for record in run_study(resplit(spec, seed), seed, wishes, given)]
    print(f"{spec.name}: medians over seeds ± half the interquartile range, report split")
    print(table(records))
    if given.beside:
        print(comparison(records, *given.beside))
    if given.json:
        given.json.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
