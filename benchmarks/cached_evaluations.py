"""Evaluations kept on disk, by study, merge and split, so that benchmarks can be run again at the cost of their searches alone."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import safetensors.torch
from torch import Tensor

from app.actions.inputs import digest_inputs
from app.domain.study import StudySpec
from app.domain.trial import Proposal
from app.store.codec import encode
from checkpoints.pairing import Pairing
from workers.evaluators.build import build_evaluator
from workers.evaluators.evaluator import MergeEvaluator
from workers.evaluators.protocol import Evaluation, Scorer

Groups = Literal["task", "block"] | tuple[str, ...]


@dataclass
class CachedEvaluator:
    """An `Evaluator` whose evaluations are read from `directory` where they were made before.

    `seconds`: how long evaluations have taken so far.
    """

    spec: StudySpec
    directory: Path
    seconds: float = 0.0

    @cached_property
    def evaluator(self) -> MergeEvaluator:
        return build_evaluator(self.spec, "cpu")

    @property
    def scorers(self) -> Mapping[str, Scorer]:
        return self.evaluator.scorers

    @property
    def gram(self) -> Tensor:
        return self.evaluator.gram

    @property
    def pairing(self) -> Pairing:
        return self.evaluator.pairing

    @property
    def group_labels(self) -> tuple[str, ...]:
        return self.evaluator.group_labels

    @property
    def plan(self) -> str:
        return self.evaluator.plan

    def grouped(self, groups: Groups) -> "CachedEvaluator":
        """The same study with its layers grouped otherwise."""
        return open_cache(replace(self.spec, space=replace(self.spec.space, groups=groups)), self.directory.parent)

    def evaluate(self, proposal: Proposal) -> Evaluation:
        started = time.perf_counter()
        plain = replace(proposal, origin="design", label="")
        found = self._found(plain, replace(plain, tasks=()))
        self.seconds += time.perf_counter() - started
        scores = {task: score for task, score in found.scores.items() if proposal.measures(task)}
        return Evaluation(scores, {task: outputs for task, outputs in found.outputs.items() if proposal.measures(task)})

    def _found(self, *kept: Proposal) -> Evaluation:
        """The evaluation of any of `kept` that was made before, else that of the first."""
        paths = [self.directory / f"{hashlib.sha256(encode(one).encode()).hexdigest()}.safetensors" for one in kept]
        for path in paths:
            if path.is_file():
                return _read(path)
        found = self.evaluator.evaluate(kept[0])
        outputs = found.outputs if kept[0].split == "search" else {}
        partial = paths[0].with_suffix(".partial")
        content = {task: tensor.contiguous() for task, tensor in outputs.items()}
        safetensors.torch.save_file(content, partial, {"scores": json.dumps(dict(found.scores))})
        partial.rename(paths[0])
        return Evaluation(found.scores, outputs)


def open_cache(spec: StudySpec, root: Path) -> CachedEvaluator:
    """The evaluator of a study over `root`/<digest of everything that its scores depend on>."""
    tasks = "".join(encode(task) for task in spec.tasks)
    inputs = json.dumps(digest_inputs(spec), sort_keys=True)
    directory = root / f"{spec.name}-{hashlib.sha256((inputs + tasks + encode(spec.space)).encode()).hexdigest()[:16]}"
    directory.mkdir(parents=True, exist_ok=True)
    return CachedEvaluator(spec, directory)


def _read(path: Path) -> Evaluation:
    with safetensors.safe_open(path, "pt") as stored:
        outputs = {task: stored.get_tensor(task) for task in stored.keys()}  # noqa: SIM118  # no mapping
        return Evaluation(json.loads(stored.metadata()["scores"]), outputs)
