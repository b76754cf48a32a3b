"""Time of a trial over the time of its forward passes alone.

    python benchmarks/trial_overhead.py STUDY.yaml [--device cpu] [--trials 5] [--json OUT]

A trial assembles the weights in place, runs every task's search split, and scores it. The forward passes alone are the same batches
through the same module with nothing before or after. Both are measured in turn, so that a busy machine slows them alike; ratios are
those of the medians, by the clock and by processor time (which other processes disturb less).
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from app.domain.trial import Proposal
from app.manifest.read import load_document, parse_manifest
from workers.evaluators.build import build_evaluator
from workers.evaluators.evaluator import MergeEvaluator
from workers.evaluators.heads import LinearHead


def forward_alone(evaluator: MergeEvaluator) -> None:
    """What any evaluation of these data has to do: the module and the heads on every batch of the search split."""
    with torch.inference_mode():
        for one in evaluator.passes:
            for batch in one.inputs["search"].batches:
                features = evaluator.network.run(batch)
                for head in one.heads.values():
                    if isinstance(head, LinearHead):
                        head.apply(features)


def seconds(step: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """By the clock, and of this process's processors."""
    begun, used = time.perf_counter(), time.process_time()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun, time.process_time() - used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    spec, faults = parse_manifest(load_document(options.study), options.study.resolve().parent)
    if spec is None or faults:
        raise SystemExit("\n".join(map(str, faults)))
    evaluator, draw = build_evaluator(spec, options.device), random.Random(0)
    device = evaluator.merges.place.device
    dimension = evaluator.gram.shape[0]
    trials, forwards = [], []
    forward_alone(evaluator)  # warm
    evaluator.evaluate(Proposal("design", "search", (0.5,) * dimension, transform=spec.transform))
    for _ in range(options.trials):
        proposal = Proposal("design", "search", tuple(draw.random() for _ in range(dimension)), transform=spec.transform)
        trials.append(seconds(lambda proposal=proposal: evaluator.evaluate(proposal), device))
        forwards.append(seconds(lambda: forward_alone(evaluator), device))
    (trial, trial_used), (forward, forward_used) = (tuple(map(statistics.median, zip(*runs, strict=True))) for runs in (trials, forwards))
    record = {
        "benchmark": "trial_overhead", "study": spec.name, "device": str(device), "trials": options.trials, "plan": evaluator.plan,
        "trial_seconds": trial, "forward_seconds": forward, "ratio": trial / forward, "processor_ratio": trial_used / forward_used,
    }  # fmt: skip
    ratios = f"ratio {trial / forward:.3f}, by processor time {trial_used / forward_used:.3f}"
    print(f"{spec.name}: trial {trial:.3f} s, forward passes alone {forward:.3f} s, {ratios}")
    if options.json:
        options.json.write_text(json.dumps([record], indent=1))


if __name__ == "__main__":
    main()
