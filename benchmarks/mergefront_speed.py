"""Our own figures for merge_speed.py, in a process of their own: prints one JSON object of seconds and bytes."""

import argparse
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch

from checkpoints.combine import Merge
from checkpoints.flat import prepare_flat_merge
from checkpoints.groups import group_tensors, spread_coefficients
from checkpoints.layout import open_layout
from checkpoints.model_set import ModelSet, fit_model_set
from checkpoints.stream import MergedFiles
from checkpoints.transforms.prepare import prepare_transform
from checkpoints.transforms.spec import NoTransform, Ties
from checkpoints.write import write_merge

COEFFICIENTS = (0.3, 0.25, 0.2, 0.15)
TUNED = ("one", "two", "three", "four")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mode", choices=("disk", "ties", "memory"), required=True)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    peak = watch_anonymous_memory()
    measure = {"disk": to_disk, "ties": to_disk_ties, "memory": in_memory}[arguments.mode]
    seconds = measure(arguments.models, arguments.out, arguments.runs)
    print(json.dumps({"seconds": seconds, "anonymous_bytes": peak()}))


def open_models(root: Path) -> ModelSet:
    return fit_model_set(open_layout(root / "base"), {name: open_layout(root / name) for name in TUNED})


def to_disk(root: Path, out: Path, runs: int) -> list[float]:
    def merge() -> None:
        models = open_models(root)
        write_merge(MergedFiles(Merge(models, spread_coefficients(COEFFICIENTS, group_tensors(models.sizes)))), out, replace=True)

    return [timed(merge) for _ in range(runs)]


def to_disk_ties(root: Path, out: Path, runs: int) -> list[float]:
    def merge() -> None:
        models, ties = open_models(root), Ties(density=0.2)
        coefficients = spread_coefficients(COEFFICIENTS, group_tensors(models.sizes))
        write_merge(MergedFiles(Merge(models, coefficients, prepare_transform(ties, models)), ties), out, replace=True)

    return [timed(merge) for _ in range(runs)]


def in_memory(root: Path, out: Path, runs: int) -> list[float]:
    """Further samples into the parameters of a model, as a study takes them; the first, which reads the files, is left out."""
    models = open_models(root)
    merge = prepare_flat_merge(models, group_tensors(models.sizes), prepare_transform(NoTransform(), models), dtype=None)
    merge.assemble(COEFFICIENTS)
    return [timed(lambda: merge.assemble(COEFFICIENTS)) for _ in range(runs)]


def timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def watch_anonymous_memory() -> Callable[[], int]:
    """Samples this process's anonymous memory, in bytes, every 5 ms; the returned function gives the peak so far. Linux only."""
    seen = [0]

    def sample() -> None:
        while True:
            fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            seen[0] = max(seen[0], int(fields["RssAnon"].split()[0]) * 1024)
            time.sleep(0.005)

    threading.Thread(target=sample, daemon=True).start()
    return lambda: seen[0]


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
