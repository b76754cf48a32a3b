"""How long a suggestion takes: fits of all tasks and the next batch, at the size that the service has to answer at.

    python benchmarks/suggestion_speed.py [--tuned 8] [--trials 100] [--tasks 8] [--examples 1000] [--classes 10] [--batch 4]
        [--acquisitions output,bins] [--repeats 3] [--predictions 10000] [--json OUT]

Outputs are logits that bend with the coefficients as those of merged networks do; every repeat has its own. The processor's seconds,
of all threads, tell more than the clock's where the machine is busy. Then so many predictions of all tasks, and the rate of their
multiplications as a share of the machine's for one large matrix product.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from surrogate.acquisition import propose_batch
from surrogate.design import initial_design, sobol_points
from surrogate.history import FittedSurrogate, History, Outputs, Scale
from surrogate.select import fit_surrogates

LARGE = 2048


def make_history(points: Tensor, examples: int, classes: int, seed: int) -> History:
    """One task's trials: the right class is ahead near one corner of the box, logits are a bent random field of the coefficients."""
    draw = torch.Generator().manual_seed(seed)
    hidden = torch.tanh(points.float() @ torch.randn(points.shape[1], 24, generator=draw))
    logits = (hidden @ torch.randn(24, examples * classes, generator=draw)).view(-1, examples, classes)
    targets = torch.randint(classes, (examples,), generator=draw)
    logits[:, torch.arange(examples), targets] += 6 * points[:, seed % points.shape[1], None].float()

    def score(outputs: Tensor) -> Tensor:
        return (outputs.argmax(-1) == targets).double().mean(-1)

    def smooth(outputs: Tensor) -> Tensor:
        return outputs.softmax(-1)[..., torch.arange(examples), targets].mean(-1)

    outputs = Outputs(logits.half(), score, smooth, targets)
    return History(points, score(outputs.values), Scale(0.0, 1.0, True, examples, True), outputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"tuned": 8, "trials": 100, "tasks": 8, "examples": 1000, "classes": 10, "batch": 4, "repeats": 3, "predictions": 10_000}
    for name, size in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--acquisitions", default="output,bins")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    records = [measure(given, acquisition, seed) for acquisition in given.acquisitions.split(",") for seed in range(given.repeats)]
    heading = f"medians of {given.repeats}, {torch.get_num_threads()} threads"
    print(f"{'acquisition':<14}{'fits, s':>10}{'batch, s':>10}{'together, s':>13}{'processor, s':>14}   ({heading})")
    for acquisition in given.acquisitions.split(","):
        rows = [one for one in records if one["acquisition"] == acquisition]
        fit, batch, processor = (
            statistics.median(float(str(one[key])) for one in rows) for key in ("fit_seconds", "batch_seconds", "processor_seconds")
        )
        print(f"{acquisition:<14}{fit:>10.3f}{batch:>10.3f}{fit + batch:>13.3f}{processor:>14.3f}")
    seconds, share = (statistics.median(float(str(one[key])) for one in records) for key in ("prediction_seconds", "matrix_product_share"))
    print(f"{given.predictions} predictions of {given.tasks} tasks: {seconds:.2f} s, {100 * share:.0f} % of the rate of a matrix product")
    if given.json:
        given.json.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


def measure(given: argparse.Namespace, acquisition: str, seed: int) -> dict[str, object]:
    points = initial_design(given.tuned, 1, given.trials, seed, 0.0, 1.0)
    histories = [make_history(points, given.examples, given.classes, given.tasks * seed + task) for task in range(given.tasks)]
    started, worked = time.perf_counter(), time.process_time()
    fits = fit_surrogates("output", histories)
    fitted = time.perf_counter()
    propose_batch(acquisition, histories, fits, points[:0], given.batch, 0.0, 1.0, seed)
    done, spent = time.perf_counter(), time.process_time() - worked
    return {
        "acquisition": acquisition,
        "seed": seed,
        "fit_seconds": fitted - started,
        "batch_seconds": done - fitted,
        "processor_seconds": spent,
        **predict(given, fits, seed),
    }


def predict(given: argparse.Namespace, fits: Sequence[FittedSurrogate], seed: int) -> dict[str, float]:
    """Seconds of all tasks' predictions, and the share of a matrix product's rate at which their outputs are multiplied."""
    points = sobol_points(given.tuned, given.predictions, seed)
    before = product_rate()
    started = time.perf_counter()
    for fit in fits:
        fit.predict(points)
    seconds = time.perf_counter() - started
    # leads over the right class take its column's place
    operations = 2 * given.predictions * given.trials * given.examples * (given.classes - 1) * len(fits)
    return {"prediction_seconds": seconds, "matrix_product_share": operations / seconds / max(before, product_rate())}


def product_rate() -> float:
    """Operations a second of a large matrix product in float32, the best of five."""
    square = torch.rand(LARGE, LARGE)
    torch.mm(square, square)
    return 2 * LARGE**3 / min(timed_product(square) for _ in range(5))


def timed_product(square: Tensor) -> float:
    started = time.perf_counter()
    torch.mm(square, square)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
