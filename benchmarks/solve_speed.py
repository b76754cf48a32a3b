"""How fast, and how good, the amortised front of quadratics is beside pymoo's NSGA-III on the same surrogates.

    python benchmarks/solve_speed.py [--tuned 8] [--points 100] [--seeds 3] [--json OUT]

Each seed makes noisy accuracies of `tuned` tasks that want conflicting coefficients, fits one quadratic a task, and solves.
Hypervolume is taken on the predicted scores, from the worst of both fronts less a tenth of their range.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from surrogate.design import initial_design
from surrogate.figures import hypervolume, reference_point
from surrogate.history import History, Scale
from surrogate.quadratic import Quadratic, fit_quadratic, free_parameters
from surrogate.solve import Solver, predicted_utilities, solve_front

SOLVERS: tuple[Solver, ...] = ("scalarised", "nsga3")
EXAMPLES = 400


def make_fits(tuned: int, seed: int) -> list[Quadratic]:
    """Quadratics of `tuned` tasks, each best near its own model alone, fitted to binomial accuracies of a bent truth."""
    noise = torch.Generator().manual_seed(seed)
    design = initial_design(tuned, 1, 2 * free_parameters(tuned), seed, 0.0, 1.0)
    scale = Scale(0.0, 1.0, examples=EXAMPLES, proportion=True)
    fits = []
    for task in range(tuned):
        peak = 0.15 * torch.rand(tuned, generator=noise, dtype=torch.float64)
        peak[task] += 0.75
        mix = torch.randn(tuned, tuned, generator=noise, dtype=torch.float64) / tuned**0.5
        away = design - peak
        loss = (away @ (0.5 * torch.eye(tuned, dtype=torch.float64) + 0.5 * mix @ mix.T) * away).sum(1)
        accuracy = torch.sigmoid(3.0 - 4.0 * loss / (1.0 + 0.3 * loss))
        right = torch.binomial(torch.full_like(accuracy, EXAMPLES), accuracy, generator=noise)
        fits.append(fit_quadratic(History(design, right / EXAMPLES, scale)))
    return fits


def measure(tuned: int, points: int, seed: int, repeats: int) -> list[dict[str, object]]:
    fits, fronts, seconds = make_fits(tuned, seed), {}, {}
    for solver in SOLVERS:
        times = []
        for _ in range(repeats if solver == "scalarised" else 1):
            begun = time.perf_counter()
            front = solve_front(fits, 0.0, 1.0, tuned, points, seed, solver)
            times.append(time.perf_counter() - begun)
        fronts[solver], seconds[solver] = predicted_utilities(fits, front), min(times)
    reference = reference_point(torch.cat(list(fronts.values())))
    return [
        {
            "benchmark": "solve_speed",
            "method": solver,
            "tuned": tuned,
            "tasks": tuned,
            "seed": seed,
            "points": len(fronts[solver]),
            "seconds": seconds[solver],
            "hypervolume": hypervolume(fronts[solver], reference),
            "threads": torch.get_num_threads(),
        }
        for solver in SOLVERS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuned", type=int, default=8)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    # the first call of the process pays for loading; what is measured is a call
    measure(2, 10, 0, 1)
    records = [record for seed in range(options.seeds) for record in measure(options.tuned, options.points, seed, options.repeats)]
    print(f"{'seed':>4} {'solver':>10} {'points':>6} {'seconds':>8} {'hypervolume':>12}")
    for record in records:
        print("{seed:>4} {method:>10} {points:>6} {seconds:>8.3f} {hypervolume:>12.5g}".format(**record))
    ratios = [ours["hypervolume"] / theirs["hypervolume"] for ours, theirs in zip(records[::2], records[1::2], strict=True)]
    slowest = max(record["seconds"] for record in records[::2])
    print(f"hypervolume over NSGA-III's: {statistics.median(ratios):.3f} (least {min(ratios):.3f}); slowest solve {slowest:.3f} s")
    if options.json:
        options.json.write_text(json.dumps(records, indent=1))


if __name__ == "__main__":
    main()
