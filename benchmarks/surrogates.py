"""Held-out error, R² and coverage of every surrogate at every budget, on a cached pool of evaluated coefficients.

    python benchmarks/surrogates.py STUDY.yaml --budgets 12,20,40 --seeds 5 --json OUT

The pool is `--pool` coefficient vectors (origin, tuned models alone, Sobol, simplex) beyond the largest budget; a seed trains on the
corners and a random choice of the rest, and is judged on what it left. Evaluations are kept under var/bench, so a second run is cheap.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from cached_evaluations import CachedEvaluator, open_cache
from torch import Tensor

from app.domain.study import StudySpec
from app.domain.task import TaskSpec
from app.domain.trial import Proposal
from app.manifest.read import load_document, parse_manifest
from surrogate.design import initial_design
from surrogate.errors import SurrogateError
from surrogate.figures import r_squared, root_mean_square
from surrogate.history import FittedSurrogate, History, Outputs, Scale
from surrogate.quadratic import fit_quadratic
from surrogate.select import fit_surrogate

SURROGATES = ("quadratic-identity", "quadratic-logit", "gp", "output", "auto")


def main() -> None:
    arguments = read_arguments()
    spec, faults = parse_manifest(load_document(arguments.study), arguments.study.resolve().parent)
    if spec is None or faults:
        sys.exit("\n".join(map(str, faults)))
    budgets = [int(budget) for budget in arguments.budgets.split(",")]
    evaluator = open_cache(spec, arguments.cache)
    tuned, dimension = len(spec.models.tuned), evaluator.gram.shape[0]
    pool = initial_design(tuned, dimension // tuned, max(budgets) + arguments.pool, 0, spec.space.low, spec.space.high)
    histories = evaluate_pool(spec, evaluator, pool)
    records = list(measure(spec, histories, evaluator.gram, budgets, arguments.seeds))
    print(table(records))
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1))


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--budgets", default="12,20,40")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pool", type=int, default=60, help="held-out coefficient vectors beyond the largest budget")
    parser.add_argument("--cache", type=Path, default=Path("var/bench"))
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def evaluate_pool(spec: StudySpec, evaluator: CachedEvaluator, pool: Tensor) -> dict[str, History]:
    """One history a task over the whole pool, n x D."""
    found = []
    for number, row in enumerate(pool.tolist()):
        found.append(evaluator.evaluate(Proposal("design", "search", tuple(row), transform=spec.transform)))
        print(f"\rpool {number + 1}/{len(pool)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return {task.name: history_of(task, evaluator, pool, found) for task in spec.tasks}


def history_of(task: TaskSpec, evaluator: CachedEvaluator, pool: Tensor, found: list) -> History:
    scorer, metric = evaluator.scorers[task.name], task.measure
    values = torch.stack([evaluation.outputs[task.name] for evaluation in found])
    scores = torch.tensor([evaluation.scores[task.name] for evaluation in found], dtype=torch.float64)
    scale = Scale(metric.low, metric.high, metric.maximize, scorer.examples("search"), metric.proportion)
    return History(pool, scores, scale, Outputs(values, scorer.score, scorer.smooth, scorer.classes))


def measure(spec: StudySpec, histories: dict[str, History], gram: Tensor, budgets: list[int], seeds: int) -> Iterator[dict[str, object]]:
    corners = 1 + len(spec.models.tuned)
    for seed in range(seeds):
        count = len(next(iter(histories.values())).scores)
        order = corners + torch.randperm(count - corners, generator=torch.Generator().manual_seed(seed))
        for budget in budgets:
            train = torch.cat([torch.arange(corners), order[: budget - corners]])
            held_out = order[max(budgets) - corners :]
            for task, history in histories.items():
                for surrogate in SURROGATES:
                    figures = judge(surrogate, part_of(history, train), part_of(history, held_out), gram, seed)
                    yield {"study": spec.name, "task": task, "surrogate": surrogate, "budget": budget, "seed": seed, **figures}


def part_of(history: History, rows: Tensor) -> History:
    assert history.outputs is not None
    outputs = Outputs(history.outputs.values[rows], history.outputs.score, history.outputs.smooth, history.outputs.targets)
    return History(history.coefficients[rows], history.scores[rows], history.scale, outputs)


def judge(surrogate: str, train: History, held_out: History, gram: Tensor, seed: int) -> dict[str, object]:
    """Figures of one fit; `failure` instead where the trials are too few for it."""
    began = time.perf_counter()
    try:
        fit = fit_named(surrogate, train, gram, seed)
    except SurrogateError as error:
        return {"failure": str(error)}
    seconds = time.perf_counter() - began
    told = fit.predict(held_out.coefficients)
    covered = (told.low <= held_out.scores) & (held_out.scores <= told.high)
    return {
        "rmse": root_mean_square(told.mean - held_out.scores),
        "r2": r_squared(held_out.scores, told.mean),
        "coverage": float(covered.double().mean()),
        "seconds": seconds,
        "used": fit.diagnostics.surrogate,
    }


def fit_named(surrogate: str, train: History, gram: Tensor, seed: int) -> FittedSurrogate:
    family, _, link = surrogate.partition("-")
    if family == "quadratic":
        return fit_quadratic(train, "identity" if link == "identity" else "auto")
    return fit_surrogate(family, train, gram, seed)


def table(records: list[dict[str, object]]) -> str:
    """Medians over tasks and seeds; coverage as a mean."""
    lines = [f"{'budget':>6}  {'surrogate':<20}{'rmse':>9}{'r2':>8}{'coverage':>10}{'fits':>6}"]
    for budget in sorted({record["budget"] for record in records}):
        for surrogate in SURROGATES:
            rows = [one for one in records if (one["budget"], one["surrogate"]) == (budget, surrogate)]
            fitted = [one for one in rows if "rmse" in one]
            if not fitted:
                lines.append(f"{budget:>6}  {surrogate:<20}  too few trials")
                continue
            rmse, r2 = (statistics.median(one[key] for one in fitted) for key in ("rmse", "r2"))
            coverage = statistics.fmean(one["coverage"] for one in fitted)
            lines.append(f"{budget:>6}  {surrogate:<20}{rmse:>9.4f}{r2:>8.3f}{coverage:>10.2f}{len(fitted):>6}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
