"""What `nested` costs and gives beside `map` with its published budget, for a few preferences.

    python benchmarks/nested_cost.py STUDY.yaml [--published 250] [--trials 6,15] [--preferences 4] [--seeds 3] [--cache DIR] [--json OUT]

`map` is the quadratic on --published trials of all tasks, from which a point is chosen for every preference; `nested` searches for each
preference alone, with --trials a pair. Scores are means on the report split, weighted by the preference. Medians over seeds.
"""

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from cached_evaluations import CachedEvaluator, open_cache
from front_methods import Searched, search_study

from app.domain.budget import planes
from app.domain.candidates import Weights
from app.domain.study import MethodSpec, StudySpec
from app.domain.trial import Proposal
from app.manifest.read import load_document, parse_manifest
from workers.engine.choices import choose_from, normalisation_of
from workers.engine.fits import fit_tasks

Preference = Mapping[str, float]


def preferences_of(spec: StudySpec, count: int) -> list[Preference]:
    """Equal weights, and random ones that sum to one."""
    tasks = [task.name for task in spec.tasks]
    draws = np.random.default_rng(0).dirichlet(np.ones(len(tasks)), count - 1)
    return [dict.fromkeys(tasks, 1 / len(tasks)), *(dict(zip(tasks, row.tolist(), strict=True)) for row in draws)]


def by_map(spec: StudySpec, evaluator: CachedEvaluator, wishes: list[Preference], budget: int, seed: int) -> Iterator[dict[str, object]]:
    found = search_study(MethodSpec("map", "quadratic", budget, seed), spec, evaluator, 2)
    fits = fit_tasks(found.evidence)
    for number, wish in enumerate(wishes):
        choice = choose_from(found.evidence, fits, normalisation_of(found.evidence, found.trials), Weights(wish), ())
        yield record("map", spec, evaluator, found, choice.coefficients, (number, wish), seed)


def by_nested(spec: StudySpec, evaluator: CachedEvaluator, wishes: list[Preference], trials: int, seed: int) -> Iterator[dict[str, object]]:
    tuned = len(spec.models.tuned)
    for number, wish in enumerate(wishes):
        method = MethodSpec("nested", preferences=(wish,), seed=seed)
        found = search_study(replace(method, budget=tuned + 1 + trials * planes(method, tuned)), spec, evaluator, 2)
        last = next(trial for trial in reversed(found.trials) if trial.proposal.origin == "verify")
        yield record(f"nested-{trials}", spec, evaluator, found, last.proposal.coefficients, (number, wish), seed)


def record(
    method: str,
    spec: StudySpec,
    evaluator: CachedEvaluator,
    found: Searched,
    row: tuple[float, ...],
    ask: tuple[int, Preference],
    seed: int,
) -> dict[str, object]:
    number, weights = ask
    scores = evaluator.evaluate(Proposal("design", "report", row, transform=spec.transform)).scores
    return {
        "study": spec.name,
        "method": method,
        "preference": number,
        "seed": seed,
        "task_evaluations": found.evaluations() * len(spec.tasks),
        "score": sum(weights[task] * scores[task] for task in weights),
        "coefficients": list(row),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--published", type=int, default=250)
    parser.add_argument("--trials", default="6,15")
    parser.add_argument("--preferences", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path("var/bench"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    spec, faults = parse_manifest(load_document(given.study), given.study.resolve().parent)
    if spec is None or faults:
        parser.error("; ".join(map(str, faults)))
    evaluator, wishes = open_cache(spec, given.cache), preferences_of(spec, given.preferences)
    records: list[dict[str, object]] = []
    for seed in range(given.seeds):
        records += by_map(spec, evaluator, wishes, given.published, seed)
        for trials in given.trials.split(","):
            records += by_nested(spec, evaluator, wishes, int(trials), seed)
    print(table(records))
    if given.json:
        given.json.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


def table(records: list[dict[str, object]]) -> str:
    """A row a preference and method; the first preference is equal weights."""
    lines = [f"{'preference':<12}{'method':<12}{'task-evaluations':>18}{'score':>9}"]
    for key in sorted({(int(str(one["preference"])), str(one["method"])) for one in records}):
        rows = [one for one in records if (one["preference"], one["method"]) == key]
        cost, score = (statistics.median(float(str(one[name])) for one in rows) for name in ("task_evaluations", "score"))
        lines.append(f"{key[0]:<12}{key[1]:<12}{cost:>18.0f}{score:>9.4f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
