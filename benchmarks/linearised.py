"""Full fine-tunes, LoRA, L-LoRA and tangent adapters of one study's base: what they score alone and merged, and what they cost.

    python benchmarks/linearised.py STUDY.yaml --out DIR --json OUT

The manifest's own tuned checkpoints stand for full fine-tuning; the adapters train on half of the study's search split, every layer, one
start A0. Then a study of each kind (`exact` for tangent adapters, `map` with `--budget` trials else) gives scores alone, average, best
task arithmetic and front, all on the report split, which neither training nor choice saw. Trainings that are in DIR already are not
repeated, but then cost no time that could be told.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import peft  # noqa: F401  # in every process, so that its memory is no kind's
import torch

from app.cli.run import carry_out
from app.cli.workspace import open_workspace
from app.domain.finetune import AdapterSpec, FinetuneSpec, TrainingSpec
from app.domain.front import Front
from app.domain.study import FrontSpec, MethodSpec, ModelSetSpec, StudySpec
from app.domain.trial import Proposal
from app.manifest.read import load_document, parse_manifest
from checkpoints.layout import ADAPTER_CONFIG
from surrogate.figures import hypervolume
from workers.evaluators.build import build_evaluator
from workers.finetuning.finetune import finetune

ADAPTERS = ("lora", "llora", "tangent")
KINDS = ("full", *ADAPTERS)
LAMBDAS = (0.2, 0.4, 0.6, 0.8, 1.0)
SHARE = 0.9  # of the base's scores: what counts as a front's worst


def main() -> None:
    arguments = read_arguments()
    spec, faults = parse_manifest(load_document(arguments.study), arguments.study.resolve().parent)
    if spec is None or faults:
        sys.exit("\n".join(map(str, faults)))
    costs = {task.name: train_task(spec, task.name, arguments) for task in spec.tasks_here}
    records = [judge(kind, spec, arguments, costs) for kind in KINDS]
    print(table(records))
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1))


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--out", type=Path, default=Path("var/linearised"))
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--targets", nargs="*", default=[])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--held-out", type=float, default=0.5, help="share of the search split that does not train")
    parser.add_argument("--budget", type=int, default=16)
    parser.add_argument("--verify", type=int, default=6)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def train_task(spec: StudySpec, name: str, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Processor seconds and peak memory in MB of training every kind of adapter of one task, which lies under DIR/KIND/TASK then."""
    task = next(one for one in spec.tasks_here if one.name == name)
    assert spec.architecture is not None  # there is a task to measure here
    costs = {}
    for kind in ADAPTERS:
        place = arguments.out / kind / name
        if (place / ADAPTER_CONFIG).exists():
            continue
        adapter = AdapterSpec(kind, arguments.rank, 2.0 * arguments.rank, tuple(arguments.targets))
        training = TrainingSpec(
            epochs=arguments.epochs, learning_rate=arguments.rate, batch=arguments.batch, patience=arguments.epochs,
            held_out=arguments.held_out,
        )  # fmt: skip
        request = FinetuneSpec(spec.models.base, spec.architecture, task, adapter, training)
        # each in a process of its own, since memory that was freed stays with a process
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            costs[kind], report = pool.submit(train_apart, request, place).result()
        print(f"{kind:<8} {name:<10} {costs[kind]['seconds']:.1f} s, report {report:.3f}", file=sys.stderr)
    return costs


def train_apart(request: FinetuneSpec, place: Path) -> tuple[dict[str, float], float]:
    """Processor seconds, the memory that training takes beside the libraries, in MB, and the report score."""
    before, begun = memory("VmRSS"), time.process_time()
    trained = finetune(request, place, "cpu")
    return {"seconds": time.process_time() - begun, "memory": (memory("VmHWM") - before) / 1024}, trained.scores["report"]


def memory(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(field)).split()[1])


def judge(kind: str, spec: StudySpec, arguments: argparse.Namespace, costs: Mapping[str, dict[str, dict[str, float]]]) -> dict[str, object]:
    """One kind's figures, over the report split."""
    tuned = dict(spec.models.tuned) if kind == "full" else {task: str(arguments.out.resolve() / kind / task) for task in costs}
    method = MethodSpec("exact" if kind == "tangent" else "map", budget=arguments.budget)
    study = replace(
        spec, name=f"{spec.name}-{kind}", models=ModelSetSpec(spec.models.base, tuned), method=method,
        front=FrontSpec(points=40, verify=arguments.verify), baselines=("average", "task_arithmetic"),
    )  # fmt: skip
    with open_workspace(arguments.out / f"study-{kind}") as workspace:
        front = workspace.store.front(carry_out(workspace, study, "cpu", None).id)
    assert front is not None and front.base is not None  # of a finished study
    return {"study": spec.name, "kind": kind, **figures(front), "curve": curve(study), **relative(kind, costs)}


def figures(front: Front) -> dict[str, object]:
    """Mean scores; normalised ones are shares of what each tuned model scores alone on its own task."""
    assert front.base is not None
    alone = {point.name: point.report[point.name] for point in front.individuals if point.name in front.tasks}
    found: dict[str, object] = {"base": mean(front.base.report), "alone": mean(alone), "alone_by_task": alone}
    for name in ("average", "task_arithmetic"):
        named = [point for point in front.baselines if point.name.startswith(name) and point.report]
        best = max(named, key=lambda point: mean(point.report))
        found[name], found[f"{name}_normalised"] = mean(best.report), mean({task: best.report[task] / alone[task] for task in alone})
        found[f"{name}_name"] = best.name
    measured = [point.report for point in front.points if point.report]
    rows = torch.tensor([[scores[task] for task in front.tasks] for scores in measured], dtype=torch.float64)
    worst = torch.tensor([SHARE * front.base.report[task] for task in front.tasks], dtype=torch.float64)
    found |= {"front_best": max(map(mean, measured)), "hypervolume": hypervolume(rows, worst) / float((1 - worst).prod())}
    return found | {"evaluations": dict(front.evaluations)}


def curve(study: StudySpec) -> dict[str, float]:
    """Mean report score of task arithmetic at each scaling of the sum."""
    evaluator, count = build_evaluator(study, "cpu"), len(study.models.tuned)
    at = {scale: evaluator.evaluate(Proposal("baseline", "report", (scale,) * count)).scores for scale in LAMBDAS}
    return {f"{scale:g}": mean(scores) for scale, scores in at.items()}


def relative(kind: str, costs: Mapping[str, dict[str, dict[str, float]]]) -> dict[str, float]:
    """Time and memory of training as multiples of LoRA's, medians over tasks; nothing where no training was timed."""
    timed = [cost for cost in costs.values() if kind in cost and "lora" in cost]
    return {key: statistics.median(cost[kind][key] / cost["lora"][key] for cost in timed) for key in ("seconds", "memory") if timed}


def mean(scores: Mapping[str, float]) -> float:
    return statistics.fmean(scores.values())


def table(records: list[dict[str, object]]) -> str:
    merged = ("average", "average_normalised", "task_arithmetic", "task_arithmetic_normalised")
    columns = ("alone", *merged, "front_best", "hypervolume", "seconds", "memory")
    titles = ("alone", "average", "(share)", "best λ", "(share)", "front", "volume", "time", "memory")
    lines = ["kind    " + "".join(f"{title:>9}" for title in titles) + "".join(f"{f'λ={scale:g}':>8}" for scale in LAMBDAS)]
    for record in records:
        cells = "".join(f"{record[column]:>9.3f}" if column in record else f"{'-':>9}" for column in columns)
        points: Mapping[str, float] = record["curve"]  # type: ignore[assignment]
        lines.append(f"{record['kind']:<8}" + cells + "".join(f"{points[f'{scale:g}']:>8.3f}" for scale in LAMBDAS))
    return "\n".join([f"base    {records[0]['base']:.3f}", *lines])


if __name__ == "__main__":
    main()
