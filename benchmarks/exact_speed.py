"""How fast exact surrogates score and find their front, beside the machine's matrix products and pymoo's NSGA-II on the same scores.

    python benchmarks/exact_speed.py [--tuned 8] [--examples 1000] [--classes 10] [--seeds 3] [--json OUT]

Each seed makes `tuned` tasks whose logits are affine in the coefficients, each helped by its own model and harmed by the others.
Rates count the multiplications and additions that give the outputs, at the count of outputs that the metric needs; arg max and scoring
take their time but count nothing. They are set beside the same product alone, of one block over and over, and one large square product.
Hypervolume is of exact scores, from the worst of both fronts less a tenth of their range.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.optimize import minimize
from torch import Tensor

from surrogate.design import sobol_points
from surrogate.exact import Exact, affine_design, fit_exact
from surrogate.exact_front import exact_utilities, find_exact_front
from surrogate.figures import hypervolume, reference_point
from surrogate.history import History, Outputs, Scale

VECTORS = 4096
SQUARE = 1024
ROWS, WIDTH = 1024, 128


def make_task(number: int, tuned: int, examples: int, classes: int, seed: int) -> Exact:
    draw = torch.Generator().manual_seed(1000 * seed + number)
    targets = torch.randint(classes, (examples,), generator=draw)
    slopes = 1.2 * torch.randn(tuned, examples, classes, generator=draw)
    slopes[number] += 4.0 * torch.nn.functional.one_hot(targets, classes)
    design = affine_design(tuned, 0.0, 1.0)
    values = torch.randn(examples, classes, generator=draw) + torch.tensordot(design.float(), slopes, 1)

    def score(outputs: Tensor) -> Tensor:
        return (outputs.argmax(-1) == targets).double().mean(-1)

    def smooth(outputs: Tensor) -> Tensor:
        return outputs.softmax(-1).gather(-1, targets.expand(len(outputs), -1)[..., None]).mean((-2, -1))

    scale = Scale(0.0, 1.0, True, examples, True)
    return fit_exact(History(design, score(values), scale, Outputs(values, score, smooth, targets)))


def quickest(*works: Callable[[], object], repeats: int = 9) -> list[float]:
    """Seconds that the fastest run of each used of this thread's core, in turns: other work on the machine hinders all alike."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, spent in zip(works, times, strict=True):
            begun = time.process_time()
            work()
            spent.append(time.process_time() - begun)
    return [min(spent) for spent in times]


def rates(tuned: int, examples: int, classes: int) -> dict[str, float]:
    """Billions of multiplications and additions a second on one core: scoring, its product alone, a square product; vectors a second."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    fit, points = make_task(0, tuned, examples, classes, 0), sobol_points(tuned, VECTORS, 0)
    # one block over and over, which never leaves the core's cache: what the product alone can reach
    part, rows, out = torch.rand(ROWS, tuned + 1), torch.rand(tuned + 1, WIDTH), torch.empty(ROWS, WIDTH)
    square = torch.rand(SQUARE, SQUARE)
    operations = 2e-9 * VECTORS * (tuned + 1) * examples * (classes - 1)
    scoring, product, of_square = quickest(
        lambda: fit.score(points), lambda: [torch.mm(part, rows, out=out) for _ in range(100)], lambda: square @ square
    )
    torch.set_num_threads(threads)
    return {
        "scoring": operations / scoring,
        "product": 2e-7 * ROWS * (tuned + 1) * WIDTH / product,
        "square": 2e-9 * SQUARE**3 / of_square,
        "vectors": VECTORS / scoring,
    }


def evolve(fits: list[Exact], tuned: int, points: int, generations: int, seed: int) -> Tensor:
    """NSGA-II's last population by the same exact scores."""

    class Scores(Problem):
        def __init__(self) -> None:
            super().__init__(n_var=tuned, n_obj=len(fits), xl=0.0, xu=1.0)

        def _evaluate(self, x: NDArray[np.float64], out: dict[str, NDArray[np.float64]]) -> None:
            out["F"] = -exact_utilities(fits, torch.from_numpy(x)).numpy()

    result = minimize(Scores(), NSGA2(pop_size=points), ("n_gen", generations), seed=seed)
    return torch.from_numpy(np.asarray(result.pop.get("X"), dtype=np.float64))


def fronts(tuned: int, examples: int, classes: int, points: int, generations: int, seed: int) -> list[dict[str, object]]:
    fits = [make_task(number, tuned, examples, classes, seed) for number in range(tuned)]
    solvers: dict[str, Callable[[], Tensor]] = {
        "exact": lambda: find_exact_front(fits, 0.0, 1.0, tuned, points, seed),
        "nsga2": lambda: evolve(fits, tuned, points, generations, seed),
    }
    scores, seconds, used = {}, {}, {}
    for solver, solve in solvers.items():
        begun, busy = time.perf_counter(), time.process_time()
        scores[solver] = exact_utilities(fits, solve())
        seconds[solver], used[solver] = time.perf_counter() - begun, time.process_time() - busy
    reference = reference_point(torch.cat(list(scores.values())))
    return [
        {
            "benchmark": "exact_speed",
            "method": solver,
            "tuned": tuned,
            "tasks": tuned,
            "examples": examples,
            "classes": classes,
            "seed": seed,
            "points": len(found),
            "seconds": seconds[solver],
            "processor_seconds": used[solver],
            "hypervolume": hypervolume(found, reference),
            "threads": torch.get_num_threads(),
        }
        for solver, found in scores.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuned", type=int, default=8)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--generations", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    size = (options.tuned, options.examples, options.classes)
    rate = rates(*size)
    print(
        f"one core: scoring {rate['scoring']:.1f} GFLOP/s, {rate['vectors']:.0f} coefficient vectors a second and task; its product alone "
        f"{rate['product']:.1f} (ratio {rate['scoring'] / rate['product']:.2f}), a square product {rate['square']:.1f} "
        f"(ratio {rate['scoring'] / rate['square']:.2f})"
    )
    records = [one for seed in range(options.seeds) for one in fronts(*size, options.points, options.generations, seed)]
    print(f"{'seed':>4} {'method':>6} {'points':>6} {'seconds':>8} {'processor':>9} {'hypervolume':>12}")
    for record in records:
        print("{seed:>4} {method:>6} {points:>6} {seconds:>8.2f} {processor_seconds:>9.2f} {hypervolume:>12.5g}".format(**record))
    ratios = [ours["hypervolume"] / theirs["hypervolume"] for ours, theirs in zip(records[::2], records[1::2], strict=True)]
    print(f"hypervolume over NSGA-II's: {statistics.median(ratios):.3f} (least {min(ratios):.3f})")
    if options.json:
        options.json.write_text(json.dumps([{"benchmark": "exact_speed", "method": "rates", **rate}, *records], indent=1))


if __name__ == "__main__":
    main()
