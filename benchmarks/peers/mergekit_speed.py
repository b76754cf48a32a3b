"""mergekit's figures, measured inside its own environment: prints one JSON object of seconds. Run by ../merge_speed.py."""

import argparse
import json
import resource
import time
from pathlib import Path

import torch
import yaml
from mergekit.architecture import get_architecture_info
from mergekit.config import MergeConfiguration
from mergekit.graph import Executor
from mergekit.io.tasks import LoaderCache
from mergekit.merge import _model_out_config, run_merge
from mergekit.options import MergeOptions
from mergekit.plan import MergePlanner


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mode", choices=("disk", "memory"), required=True)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    config = MergeConfiguration.model_validate(yaml.safe_load(arguments.config.read_text()))
    measure = to_disk if arguments.mode == "disk" else in_memory
    seconds = [measure(config, arguments.out) for _ in range(arguments.runs)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak_bytes": peak}))


def to_disk(config: MergeConfiguration, out: Path) -> float:
    start = time.perf_counter()
    run_merge(config, str(out), MergeOptions(quiet=True, copy_tokenizer=False))
    return time.perf_counter() - start


def in_memory(config: MergeConfiguration, out: Path) -> float:
    """One sample as mergekit's own evolution does it: plan, run, copy each tensor into the parameters of a model.

    The planned tensor tasks are run as they are: the task that `plan_in_memory` wraps around each fails to build under pydantic 2.14.
    """
    options = MergeOptions(quiet=True, copy_tokenizer=False)
    LoaderCache().setup(options=options)
    architecture = get_architecture_info(config, options)
    start = time.perf_counter()
    planner = MergePlanner(config, architecture, options=options, out_model_config=_model_out_config(config, architecture))
    planner._plan()
    names = {task: weight.name for weight, task in planner._tensors}
    for task, value in Executor(list(names), math_device="cpu", storage_device="cpu").run(quiet=True):
        if names[task] in PARAMETERS:
            PARAMETERS[names[task]].copy_(value)
        else:
            PARAMETERS[names[task]] = value.clone()
    return time.perf_counter() - start


PARAMETERS: dict[str, torch.Tensor] = {}


if __name__ == "__main__":
    main()
